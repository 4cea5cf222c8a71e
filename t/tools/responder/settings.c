/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The settings: one record for all certificates and one for each that was
 * named, and how they are laid over each other.
 */

#include "responder.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>

typedef struct override_t {
    char serial[SERIAL_LEN];
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

static override_t *find_override(const char *serial)
{
    override_t *o;

    for (o = overrides; o; o = o->next) {
        if (!strcmp(o->serial, serial)) {
            return o;
        }
    }
    return NULL;
}

settings_t *settings_of(const char *serial)
{
    override_t *o;

    if (!*serial) {
        return &general;
    }
    o = find_override(serial);
    if (!o) {
        o = must(calloc(1, sizeof(*o)));
        strcpy(o->serial, serial);
        o->settings = initial_settings;
        o->next = overrides;
        overrides = o;
    }
    return &o->settings;
}

/* Forget all settings, or those of one certificate. */
void clear_settings(const char *serial)
{
    override_t **link = &overrides;

    while (*link) {
        override_t *o = *link;

        if (!*serial || !strcmp(o->serial, serial)) {
            *link = o->next;
            free(o);
        }
        else {
            link = &o->next;
        }
    }
    if (!*serial) {
        general = initial_settings;
    }
}

void settings_for(const char *serial, settings_t *s)
{
    const override_t *o;

    *s = general;
    for (o = overrides; o; o = o->next) {
        if (!strcmp(o->serial, serial)) {
            overlay(s, &o->settings);
        }
    }
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
