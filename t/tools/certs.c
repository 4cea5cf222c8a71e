/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A registry of many certificates of one issuer, for callgrind to count what
 * staple_cert_add costs: `certs CERTIFICATES HOSTS` adds so many certificates
 * with a virtual host each, and to the first of them so many hosts more.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_cert.h"
#include "../unit/pki.h"

#define ID_LEN 20

static apr_pool_t *pool;

/* All have one key, as making one is not what is counted. */
static const char *make_pem(int number, const pki_id_t *ca,
                            const pki_id_t *key_of, pki_id_t *made)
{
    pki_want_t want = {
        .name = apr_psprintf(pool, "host%d.test", number), .issuer = ca,
        .serial = 1000 + number, .key_of = key_of,
        .extensions = { "authorityInfoAccess",
                        "OCSP;URI:http://ocsp.test/", "subjectAltName",
                        apr_psprintf(pool, "DNS:host%d.test", number),
                        "authorityKeyIdentifier", "keyid" }
    };

    *made = pki_make(&want, pool);
    return apr_pstrcat(pool,
                       pki_pem(&(pki_id_t){ made->cert, NULL }, pool),
                       pki_pem(&(pki_id_t){ ca->cert, NULL }, pool), NULL);
}

static void add(staple_cert_registry_t *registry, int number, const char *pem,
                int rank)
{
    static staple_cert_policy_t policy;
    staple_cert_use_t use = {
        .id = apr_psprintf(pool, "%0*d", ID_LEN, number), .id_len = ID_LEN,
        .pem = pem, .host = apr_psprintf(pool, "host%d:443", rank),
        .rank = rank, .policy = &policy
    };
    const char *reason;

    policy.response_files = apr_array_make(pool, 1, sizeof(const char *));
    if (!staple_cert_add(registry, &use, &reason)) {
        fprintf(stderr, "certs: %s\n", reason);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    pki_want_t want = { .name = "CA", .serial = 1,
                        .extensions = { PKI_CA, "subjectKeyIdentifier",
                                        "hash" } };
    int count = argc > 2 ? atoi(argv[1]) : 0;
    int hosts = argc > 2 ? atoi(argv[2]) : 0;
    staple_cert_registry_t *registry;
    const char *first = NULL, *pem;
    pki_id_t ca, leaf, last;
    int i;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    ca = pki_make(&want, pool);
    registry = staple_cert_registry_make(pool);
    for (i = 0; i < count; i++) {
        pem = make_pem(i, &ca, i ? &leaf : NULL, &last);
        leaf = i ? leaf : last;
        first = i ? first : pem;
        add(registry, i, pem, i);
    }
    for (i = 0; i < hosts; i++) {
        add(registry, 0, first, count + i);
    }
    staple_cert_registry_finish(registry);
    return 0;
}
