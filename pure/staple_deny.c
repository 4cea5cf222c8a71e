/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which addresses a responder must not have. What lives here: the words of
 * StapleDenyResponder and the comparison of bits. What does not: when to ask;
 * the engine does that for every address it is about to connect to, so a name
 * or a redirect that leads to a denied one is no way around.
 *
 * The one idea: there is one kind of address, of 128 bits. IPv4 is kept as
 * IPv4 mapped into IPv6, which makes both one; so a network is 16 bytes and a
 * number of bits, and a word is one network or several.
 *
 * A room of its own rather than a part of staple_http, where a URL's host is
 * only read: the addresses of a name are known to the engine alone.
 */

#include "staple_deny.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "staple_address.h"

#define BYTES STAPLE_ADDRESS_LEN
#define BITS STAPLE_ADDRESS_BITS

#define ACCEPTED "loopback, private, link-local, an address, or a network " \
                 "such as 10.0.0.0/8 or fc00::/7"

typedef struct network_t {
    unsigned char bytes[BYTES];
    int bits; /* that count, from the first */
} network_t;

struct staple_deny_t {
    apr_array_header_t *networks; /* network_t */
};

static const struct {
    const char *word;
    const char *network;
} names[] = {
    { "loopback", "127.0.0.0/8" },
    { "loopback", "::1" },
    { "loopback", "0.0.0.0/8" }, /* connected to, it is this very host */
    { "loopback", "::" },
    { "private", "10.0.0.0/8" }, /* RFC 1918 */
    { "private", "172.16.0.0/12" },
    { "private", "192.168.0.0/16" },
    { "private", "100.64.0.0/10" }, /* RFC 6598 */
    { "private", "fc00::/7" },      /* RFC 4193 */
    { "private", "fec0::/10" },     /* RFC 3879 */
    { "link-local", "169.254.0.0/16" },
    { "link-local", "fe80::/10" }
};

static const network_t mapped = {
    { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96
};
static const network_t nat64 = { { 0, 0x64, 0xff, 0x9b }, 96 };

static int is_inside(const network_t *network, const unsigned char *bytes)
{
    int whole = network->bits / 8;
    unsigned mask = 0xff00u >> network->bits % 8;

    return !memcmp(network->bytes, bytes, (size_t)whole)
           && (!(network->bits % 8)
               || !((network->bytes[whole] ^ bytes[whole]) & mask));
}

/* The number behind the slash; -1: it is none. */
static int read_bits(const char *text, int most)
{
    int bits = 0;

    if (!*text || strlen(text) > 3) {
        return -1;
    }
    for (; *text; text++) {
        if (!apr_isdigit(*text)) {
            return -1;
        }
        bits = bits * 10 + (*text - '0');
    }
    return bits <= most ? bits : -1;
}

static int has_bits_beyond(const network_t *network)
{
    int bit;

    for (bit = network->bits; bit < BITS; bit++) {
        if (network->bytes[bit / 8] & (0x80 >> bit % 8)) {
            return 1;
        }
    }
    return 0;
}

static const char *read_network(network_t *network, const char *word,
                                apr_pool_t *p)
{
    const char *slash = strchr(word, '/');
    const char *address = slash ? apr_pstrmemdup(p, word,
                                                 (apr_size_t)(slash - word))
                                : word;
    int most = staple_address_read(network->bytes, address);
    int bits = slash ? read_bits(slash + 1, most) : most;

    if (!most) {
        return "is not accepted; write " ACCEPTED;
    }
    if (bits < 0) {
        return apr_psprintf(p, "is not accepted; the number behind the slash "
                            "is one from 0 to %d", most);
    }
    network->bits = BITS - most + bits;
    if (has_bits_beyond(network)) {
        return apr_psprintf(p, "is not accepted; the address has more than %d "
                            "bits: write the network's first address", bits);
    }
    return NULL;
}

const char *staple_deny_add(staple_deny_t *deny, const char *word,
                            apr_pool_t *ptemp)
{
    const char *wrong;
    network_t network;
    int count = deny->networks->nelts;
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strcasecmp(word, names[i].word)) {
            read_network(&network, names[i].network, ptemp);
            APR_ARRAY_PUSH(deny->networks, network_t) = network;
        }
    }
    if (deny->networks->nelts > count) {
        return NULL;
    }
    wrong = read_network(&network, word, ptemp);
    if (!wrong) {
        APR_ARRAY_PUSH(deny->networks, network_t) = network;
    }
    return wrong;
}

static int is_listed(const staple_deny_t *deny,
                     const unsigned char *bytes)
{
    int i;

    for (i = 0; i < deny->networks->nelts; i++) {
        if (is_inside(&APR_ARRAY_IDX(deny->networks, i, network_t), bytes)) {
            return 1;
        }
    }
    return 0;
}

int staple_deny_matches(const staple_deny_t *deny,
                        const char *address)
{
    unsigned char bytes[BYTES];

    if (!staple_address_read(bytes, address) || is_listed(deny, bytes)) {
        return 1;
    }
    if (!is_inside(&nat64, bytes)) {
        return 0;
    }
    memcpy(bytes, mapped.bytes, BYTES - 4);
    return is_listed(deny, bytes);
}

int staple_deny_allows(void *deny, const char *address,
                       apr_uint16_t port)
{
    (void)port;
    return !deny || !staple_deny_matches(deny, address);
}

staple_deny_t *staple_deny_make(apr_pool_t *p)
{
    staple_deny_t *deny = apr_palloc(p, sizeof(*deny));

    deny->networks = apr_array_make(p, 8, sizeof(network_t));
    return deny;
}
