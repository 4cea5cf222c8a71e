/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The settings: one record for all certificates, one for each certificate and
 * each address that was named, and how they are laid over each other.
 */

#include "responder.h"

#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <openssl/bn.h>

typedef struct override_t {
    char target[SERIAL_LEN]; /* a serial or an address */
    settings_t settings;
    struct override_t *next;
} override_t;

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static settings_t general;
static override_t *overrides;

const settings_t initial_settings = {
    .reason = -1,
    .revoked_ago = DAY,
    .status = 200,
    .this_update = -60,
    .next_update = 4 * DAY,
    .type = "application/ocsp-response",
    .digest = "sha256"
};

/* Lay what was set in `over` on top. */
void overlay(settings_t *s, const settings_t *over)
{
    if (over->given & ASPECT_ANSWER) {
        s->answer = over->answer;
        s->size = over->size;
        s->ocsp_status = over->ocsp_status;
        s->revoked_ago = over->revoked_ago;
        s->reason = over->reason;
    }
    if (over->given & ASPECT_SIGNER) {
        s->signer = over->signer;
    }
    if (over->given & ASPECT_DELIVERY) {
        s->delivery = over->delivery;
        s->ms = over->ms;
    }
    if (over->given & ASPECT_STATUS) {
        s->status = over->status;
        memcpy(s->status_header, over->status_header,
               sizeof(s->status_header));
    }
    if (over->given & ASPECT_VALIDITY) {
        s->this_update = over->this_update;
        s->next_update = over->next_update;
    }
    if (over->given & ASPECT_FRAMING) {
        s->framing = over->framing;
    }
    if (over->given & ASPECT_TYPE) {
        memcpy(s->type, over->type, sizeof(s->type));
    }
    if (over->given & ASPECT_HEADERS) {
        memcpy(s->headers, over->headers, sizeof(s->headers));
    }
    if (over->given & ASPECT_ETAG) {
        memcpy(s->etag, over->etag, sizeof(s->etag));
    }
    if (over->given & ASPECT_HASH) {
        s->only_hash = over->only_hash;
        s->other_hash_status = over->other_hash_status;
    }
    if (over->given & ASPECT_METHOD) {
        memcpy(s->only_method, over->only_method, sizeof(s->only_method));
    }
    if (over->given & ASPECT_RESPONDER) {
        s->by_key = over->by_key;
    }
    if (over->given & ASPECT_DIGEST) {
        memcpy(s->digest, over->digest, sizeof(s->digest));
    }
}

static override_t *find_override(const char *target)
{
    override_t *o;

    for (o = overrides; o; o = o->next) {
        if (!strcmp(o->target, target)) {
            return o;
        }
    }
    return NULL;
}

settings_t *settings_of(const char *target)
{
    override_t *o;

    if (!*target) {
        return &general;
    }
    o = find_override(target);
    if (!o) {
        o = must(calloc(1, sizeof(*o)));
        strcpy(o->target, target);
        o->settings = initial_settings;
        o->next = overrides;
        overrides = o;
    }
    return &o->settings;
}

void clear_settings(const char *target)
{
    override_t **link = &overrides;

    while (*link) {
        override_t *o = *link;

        if (!*target || !strcmp(o->target, target)) {
            *link = o->next;
            free(o);
        }
        else {
            link = &o->next;
        }
    }
    if (!*target) {
        general = initial_settings;
    }
}

static void overlay_target(settings_t *s, const char *target)
{
    const override_t *o = find_override(target);

    if (o) {
        overlay(s, &o->settings);
    }
}

void settings_for(const char *serial, const char *address, settings_t *s)
{
    *s = general;
    overlay_target(s, address);
    overlay_target(s, serial);
}

/* Serials are compared as upper case hex of whole bytes, as OpenSSL has it. */
const char *normalize_serial(const char *text, char *serial)
{
    BIGNUM *bn = NULL;
    char *hex;

    if (strlen(text) > SERIAL_LEN - 2
        || BN_hex2bn(&bn, text) != (int)strlen(text)) {
        BN_free(bn);
        return "not a serial in hex";
    }
    hex = must(BN_bn2hex(bn));
    strcpy(serial, hex);
    OPENSSL_free(hex);
    BN_free(bn);
    return NULL;
}

/* Addresses are compared as inet_ntop() writes them. */
static const char *normalize_address(const char *text, char *address)
{
    unsigned char bytes[16];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;

    return inet_pton(family, text, bytes) == 1
           && inet_ntop(family, bytes, address, ADDRESS_LEN)
           ? NULL : "not an address";
}

const char *normalize_target(const char *text, char *target)
{
    return strpbrk(text, ".:") ? normalize_address(text, target)
                               : normalize_serial(text, target);
}
