/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where a certificate may not send the server. What lives here: the words of
 * StapleDenyResponder, what is refused without it, and the comparison of bits.
 * What does not: when to ask; the engine does that for every address it is
 * about to connect to, so a name or a redirect that leads to a denied one is no
 * way around.
 *
 * The one idea: there is one kind of address, of 128 bits (staple_address.h);
 * so a network is 16 bytes and a number of bits, and a word is one network or
 * several. An IPv6 address that carries an IPv4 address leads to it, by way of
 * some gateway, and is judged as both.
 *
 * A room of its own rather than a part of staple_http, where a URL's host is
 * only read: the addresses of a name are known to the engine alone.
 */

#include "staple_deny.h"

#include <string.h>
#include <strings.h>

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "staple_address.h"
#include "staple_magic.h"

#define BYTES STAPLE_ADDRESS_LEN
#define BITS STAPLE_ADDRESS_BITS

#define ACCEPTED "none, loopback, private, link-local, an address, or a " \
                 "network such as 10.0.0.0/8 or fc00::/7"

/* Why an address may not be asked: phrases that follow it. */
typedef struct refusal_t {
    const char *what;        /* why */
    const char *with_advice; /* the same, and how it can be allowed */
} refusal_t;

#define SO ", so a URI of a certificate may not lead there"
#define ADVICE ": if it is a responder, name it in SSLStaplingForceURL, or " \
               "write StapleDenyResponder none"

/* Without a directive. */
#define BY_DEFAULT(what) { what SO, what SO ADVICE }

#define WITHOUT_ADVICE(what) { what, what }

static const refusal_t
    not_understood = WITHOUT_ADVICE("is not understood"),
    by_directive = WITHOUT_ADVICE("is denied by the configuration "
                                  "(StapleDenyResponder)"),
    link_local = BY_DEFAULT("is link-local"),
    metadata = BY_DEFAULT("is a cloud's metadata service"),
    multicast = BY_DEFAULT("is multicast"),
    broadcast = BY_DEFAULT("is broadcast"),
    no_address = BY_DEFAULT("is no address"),
    other_port = BY_DEFAULT("has a port of another protocol");

typedef struct network_t {
    unsigned char bytes[BYTES];
    int bits; /* that count, from the first */
} network_t;

#define DENY_MAGIC 0x44454E59u

struct staple_deny_t {
    staple_magic_t magic;
    apr_pool_t *pool;
    apr_array_header_t *networks; /* network_t: the directive's */
    apr_array_header_t *defaults; /* network_t, as in default_networks; empty
                                     after "none" */
    int is_none;                  /* "none" was written */
    apr_hash_t *trusted;          /* "host:port" */
};

typedef struct named_network_t {
    const char *name; /* a word of the directive */
    const char *network;
} named_network_t;

typedef struct refused_network_t {
    const refusal_t *refusal;
    const char *network;
} refused_network_t;

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* "private" is what the registries of special-purpose addresses (RFC 6890)
 * call not globally reachable. */
static const named_network_t words[] = {
    { "loopback", "127.0.0.0/8" },
    { "loopback", "::1" },
    { "loopback", "0.0.0.0/8" }, /* connected to, it is this very host */
    { "loopback", "::" },
    { "private", "10.0.0.0/8" }, /* RFC 1918 */
    { "private", "172.16.0.0/12" },
    { "private", "192.168.0.0/16" },
    { "private", "100.64.0.0/10" },   /* RFC 6598 */
    { "private", "192.0.0.0/24" },    /* RFC 6890 */
    { "private", "192.0.2.0/24" },    /* RFC 5737 */
    { "private", "198.51.100.0/24" },
    { "private", "203.0.113.0/24" },
    { "private", "198.18.0.0/15" },   /* RFC 2544 */
    { "private", "240.0.0.0/4" },     /* RFC 1112 */
    { "private", "fc00::/7" },        /* RFC 4193 */
    { "private", "fec0::/10" },       /* RFC 3879 */
    { "private", "64:ff9b:1::/48" },  /* RFC 8215 */
    { "private", "100::/64" },        /* RFC 6666 */
    { "private", "2001:2::/48" },     /* RFC 5180 */
    { "private", "2001:db8::/32" },   /* RFC 3849 */
    { "private", "3fff::/20" },       /* RFC 9637 */
    { "private", "5f00::/16" },       /* RFC 9602 */
    { "link-local", "169.254.0.0/16" },
    { "link-local", "fe80::/10" }
};

/* What can never be a responder of a CA. The metadata services of most clouds
 * are at a link-local address; these are the others, which cloud-init and the
 * clouds' own libraries name. */
static const refused_network_t default_networks[] = {
    { &link_local, "169.254.0.0/16" },
    { &link_local, "fe80::/10" },
    { &metadata, "168.63.129.16" },      /* Azure */
    { &metadata, "192.0.0.192" },        /* Oracle, of old */
    { &metadata, "fd00:c1::a9fe:a9fe" }, /* Oracle */
    { &metadata, "fd00:ec2::254" },      /* Amazon */
    { &metadata, "fd00:ec2::23" },       /* Amazon, credentials of pods */
    { &metadata, "fd20:ce::254" },       /* Google */
    { &metadata, "100.100.100.200" },    /* Alibaba */
    { &metadata, "fd00:100::100:200" },  /* Alibaba */
    { &metadata, "fd00:a9fe:a9fe::1" },  /* Akamai */
    { &metadata, "fd00:42::42" },        /* Scaleway */
    { &multicast, "224.0.0.0/4" },
    { &multicast, "ff00::/8" },
    { &broadcast, "255.255.255.255" },
    { &no_address, "0.0.0.0" },
    { &no_address, "::" }
};

/* The ports of other protocols that browsers do not connect to (WHATWG Fetch,
 * "bad port", compared in November 2026 with copies of that list and with
 * Chromium's net/base/port_util.cc, which lacks 4190 and 6679), and those of
 * two caches; in order. */
static const apr_uint16_t default_ports[] = {
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77,
    79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135,
    137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720,
    1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666,
    6667, 6668, 6669, 6679, 6697, 10080, 11211
};

/* :: and ::1 have a meaning of their own. */
static const network_t not_compatible = { { 0 }, 127 };

/* IPv6 addresses that carry an IPv4 address: where its four bytes stand. */
static const struct {
    network_t prefix;
    int at[4];
    unsigned char mask; /* each byte is inverted where it is 0xff */
} carriers[] = {
    /* compatible, RFC 4291 2.5.5.1 */
    { { { 0 }, 96 }, { 12, 13, 14, 15 }, 0 },
    /* translated, ::ffff:0:0:0/96, RFC 2765 2.1 */
    { { { [8] = 0xff, [9] = 0xff }, 96 }, { 12, 13, 14, 15 }, 0 },
    /* NAT64, RFC 6052 2.1; RFC 8215 in both forms that its length allows */
    { { { 0, 0x64, 0xff, 0x9b }, 96 }, { 12, 13, 14, 15 }, 0 },
    { { { 0, 0x64, 0xff, 0x9b, 0, 1 }, 48 }, { 12, 13, 14, 15 }, 0 },
    { { { 0, 0x64, 0xff, 0x9b, 0, 1 }, 48 }, { 6, 7, 9, 10 }, 0 },
    /* 6to4, RFC 3056 2 */
    { { { 0x20, 0x02 }, 16 }, { 2, 3, 4, 5 }, 0 },
    /* Teredo, RFC 4380 4: the server, and the client */
    { { { 0x20, 0x01 }, 32 }, { 4, 5, 6, 7 }, 0 },
    { { { 0x20, 0x01 }, 32 }, { 12, 13, 14, 15 }, 0xff }
};

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

/* The words' networks are constants of this file, so they can be read. */
static void push_network(apr_array_header_t *networks, const char *text,
                         apr_pool_t *p)
{
    network_t network;

    read_network(&network, text, p);
    APR_ARRAY_PUSH(networks, network_t) = network;
}

static const char *add_none(staple_deny_t *deny)
{
    if (deny->networks->nelts) {
        return "stands alone, as it denies nothing";
    }
    deny->is_none = 1;
    return NULL;
}

/* Whether it is a word that stands for networks. */
static int add_word(staple_deny_t *deny, const char *word, apr_pool_t *ptemp)
{
    int count = deny->networks->nelts;
    apr_size_t i;

    for (i = 0; i < COUNT(words); i++) {
        if (!strcasecmp(word, words[i].name)) {
            push_network(deny->networks, words[i].network, ptemp);
        }
    }
    return deny->networks->nelts > count;
}

const char *staple_deny_add(staple_deny_t *deny, const char *word,
                            apr_pool_t *ptemp)
{
    const char *wrong;
    network_t network;

    if (!strcasecmp(word, "none")) {
        return add_none(deny);
    }
    if (deny->is_none) {
        return "cannot stand beside none";
    }
    if (add_word(deny, word, ptemp)) {
        return NULL;
    }
    wrong = read_network(&network, word, ptemp);
    if (!wrong) {
        APR_ARRAY_PUSH(deny->networks, network_t) = network;
    }
    return wrong;
}

/* ----- judging ----- */

/* The index of the network that an address lies in; -1: in none. */
static int find_network(const apr_array_header_t *networks,
                        const unsigned char *bytes)
{
    int i;

    for (i = 0; i < networks->nelts; i++) {
        if (is_inside(&APR_ARRAY_IDX(networks, i, network_t), bytes)) {
            return i;
        }
    }
    return -1;
}

/* Into mapped, as this room keeps IPv4; returns whether there is anything. */
static int take_ipv4(unsigned char mapped[BYTES], const unsigned char *bytes,
                     const int *at, unsigned char mask)
{
    int i, any = 0;

    memset(mapped, 0, BYTES);
    mapped[10] = mapped[11] = 0xff;
    for (i = 0; i < 4; i++) {
        mapped[12 + i] = bytes[at[i]] ^ mask;
        any |= mapped[12 + i];
    }
    return any != 0;
}

/* The same for an address and all that it carries. */
static int find_any(const apr_array_header_t *networks,
                    const unsigned char *bytes)
{
    unsigned char carried[BYTES];
    int found = find_network(networks, bytes);
    apr_size_t i;

    for (i = 0; found < 0 && i < COUNT(carriers); i++) {
        if (is_inside(&carriers[i].prefix, bytes)
            && !is_inside(&not_compatible, bytes)
            && take_ipv4(carried, bytes, carriers[i].at, carriers[i].mask)) {
            found = find_network(networks, carried);
        }
    }
    return found;
}

static int is_default_port(apr_uint16_t port)
{
    apr_size_t i = 0;

    while (i < COUNT(default_ports) && default_ports[i] < port) {
        i++;
    }
    return i < COUNT(default_ports) && default_ports[i] == port;
}

static const char *make_key(const char *host, apr_uint16_t port, apr_pool_t *p)
{
    return apr_psprintf(p, "%s:%u", host, (unsigned)port);
}

static int is_trusted(const staple_deny_t *deny, const char *host,
                      apr_uint16_t port)
{
    char key[300]; /* a name has 253 bytes at most */

    apr_snprintf(key, sizeof(key), "%s:%u", host, (unsigned)port);
    return apr_hash_get(deny->trusted, key, APR_HASH_KEY_STRING) != NULL;
}

void staple_deny_trust(staple_deny_t *deny, const char *host,
                       apr_uint16_t port)
{
    apr_hash_set(deny->trusted, make_key(host, port, deny->pool),
                 APR_HASH_KEY_STRING, deny);
}

/* @return NULL: it may be asked */
static const refusal_t *find_refusal(const void *list, const char *host,
                                     const char *address, apr_uint16_t port)
{
    const staple_deny_t *deny = STAPLE_CAST(const staple_deny_t, DENY_MAGIC,
                                            list);
    unsigned char bytes[BYTES];
    int found;

    if (!staple_address_read(bytes, address)) {
        return &not_understood;
    }
    if (find_any(deny->networks, bytes) >= 0) {
        return &by_directive;
    }
    if (deny->is_none || is_trusted(deny, host, port)) {
        return NULL;
    }
    found = find_any(deny->defaults, bytes);
    if (found >= 0) {
        return default_networks[found].refusal;
    }
    return is_default_port(port) ? &other_port : NULL;
}

const char *staple_deny_refusal(const void *list, const char *host,
                                const char *address, apr_uint16_t port)
{
    const refusal_t *refusal = find_refusal(list, host, address, port);

    return refusal ? refusal->with_advice : NULL;
}

const char *staple_deny_reason(const void *list, const char *host,
                               const char *address, apr_uint16_t port)
{
    const refusal_t *refusal = find_refusal(list, host, address, port);

    return refusal ? refusal->what : NULL;
}

staple_deny_t *staple_deny_make(apr_pool_t *p)
{
    staple_deny_t *deny = apr_pcalloc(p, sizeof(*deny));
    apr_size_t i;

    deny->magic = DENY_MAGIC;
    deny->pool = p;
    deny->networks = apr_array_make(p, 8, sizeof(network_t));
    deny->defaults = apr_array_make(p, COUNT(default_networks),
                                    sizeof(network_t));
    deny->trusted = apr_hash_make(p);
    for (i = 0; i < COUNT(default_networks); i++) {
        push_network(deny->defaults, default_networks[i].network, p);
    }
    return deny;
}
