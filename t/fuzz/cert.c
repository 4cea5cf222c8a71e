/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fuzz target: a certificate that a customer has uploaded, which the parent
 * reads. The input is the leaf's DER; it comes as mod_ssl hands it over, in
 * PEM with its issuer behind it. Whatever is in it, it is refused with a
 * reason, or there is a record whose texts are printable and whose scope says
 * why nothing is asked.
 *
 * It is read as it is and, since what its issuer has not signed is not asked
 * about, signed anew by the test CA. The bytes are also what a server for
 * issuers may send, for a certificate that lacks its own.
 */

#include "staple_cert.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "staple_x509.h"
#include "../unit/pki.h"
#include "fuzz.h"
#include "ocsp_pair.h"

/* Longer than the ids of mod_ssl. */
#define LONG_ID "the id of a certificate in a TLS module that has longer ones"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *pool, *scratch;
static pki_id_t ca;
static const char *issuer;
static const char *orphan; /* a leaf of the CA, as one without an issuer */

static void begin(void)
{
    pki_id_t leaf;

    pool = fuzz_pool();
    apr_pool_create(&scratch, pool);
    ca = pki_read(PAIR_CA, pool);
    issuer = pki_pem(&ca, pool);
    leaf = pki_read(PAIR_LEAF, pool);
    orphan = apr_pstrcat(pool, pki_pem(&leaf, pool), pki_pem(&leaf, pool),
                         NULL);
}

static const char *as_pem(const uint8_t *der, size_t len, const char *behind)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long text_len;

    PEM_write_bio(bio, "CERTIFICATE", "", der, (long)len);
    text_len = BIO_get_mem_data(bio, &text);
    text = apr_pstrmemdup(scratch, text, (apr_size_t)text_len);
    BIO_free(bio);
    return apr_pstrcat(scratch, text, behind, NULL);
}

static void check_text(const char *text)
{
    for (; text && *text; text++) {
        require((unsigned char)*text >= ' ' && *text != 0x7f);
    }
}

/* A request is small, whatever is in the certificate. */
static void check_requests(const staple_cert_t *cert)
{
    int hash;

    for (hash = 0; hash <= STAPLE_OCSP_SHA256; hash++) {
        const unsigned char *der;
        apr_size_t len;

        require(!staple_ocsp_request(cert->subject,
                                     (staple_ocsp_hash_e)hash, &der, &len,
                                     scratch));
        require(der[0] == 0x30 && len == der[1] + 2U && len <= 127);
    }
}

static void check(const staple_cert_t *cert)
{
    int i;

    require(*staple_cert_scope_text(cert->scope));
    require(!cert->subject || cert->scope == STAPLE_CERT_APPLIES
            || cert->scope == STAPLE_CERT_NO_RESPONDER);
    if (cert->subject) {
        check_requests(cert);
    }
    require(cert->urls->nelts <= 8);
    check_text(cert->name);
    check_text(cert->serial);
    check_text(cert->subject_dn);
    check_text(cert->issuer_dn);
    for (i = 0; i < cert->urls->nelts; i++) {
        check_text(APR_ARRAY_IDX(cert->urls, i, const char *));
    }
}

/* Beside the leaf of the CA, which has a later virtual host. */
static void check_list(staple_cert_registry_t *registry,
                       const staple_cert_t *cert)
{
    const apr_array_header_t *list;

    staple_cert_registry_finish(registry);
    list = staple_cert_list(registry);
    require(list->nelts == 1 + (cert != NULL));
    require(!cert || APR_ARRAY_IDX(list, 0, staple_cert_t *) == cert);
    require(staple_cert_count_stapled(registry) <= (apr_size_t)list->nelts);
}

static staple_cert_t *add(const char *pem)
{
    static const staple_cert_policy_t none;
    staple_cert_registry_t *registry = staple_cert_registry_make(scratch);
    staple_cert_policy_t policy = none;
    staple_cert_use_t use = { .id = LONG_ID, .id_len = sizeof(LONG_ID),
                              .pem = orphan, .host = "one.test:443",
                              .rank = 8, .policy = &policy };
    unsigned char issuer_id[STAPLE_ID_LEN];
    const char *reason = NULL;
    staple_cert_t *cert;

    policy.times.max_age = policy.refresh_age = -1;
    policy.response_files = apr_array_make(scratch, 1, sizeof(const char *));
    policy.fetch_issuer = 1;
    require(staple_cert_add(registry, &use, &reason) != NULL);
    use = (staple_cert_use_t){ .id = "id", .id_len = 2, .pem = pem,
                               .host = "host.test:443", .rank = 7,
                               .policy = &policy };
    cert = staple_cert_add(registry, &use, &reason);
    require(cert || (reason && *reason));
    if (cert) {
        use.host = "two.test:443";
        use.rank = 1;
        policy.force_url = "http://ocsp.test/";
        staple_cert_add(registry, &use, &reason);
        staple_cert_issuer_id(cert->id, issuer_id);
        check(cert);
    }
    check_list(registry, cert);
    require(!ERR_peek_error());
    return cert;
}

/* As staplectl finds the issuer among what a server sends. */
static void find_issuer(X509 *x)
{
    STACK_OF(X509) *among = sk_X509_new_null();
    X509 *found;

    require(among && sk_X509_push(among, x) && sk_X509_push(among, ca.cert));
    found = staple_x509_find_issuer(among, x);
    require(!found || found == ca.cert);
    require(staple_x509_find_signer(among, x) == found);
    if (found) {
        add(staple_x509_pem(x, found, scratch));
    }
    sk_X509_free(among);
}

/* The same certificate with the CA as its issuer; bytes is NULL where it
 * cannot be read. */
static pki_der_t sign_again(const uint8_t *data, size_t size)
{
    const unsigned char *at = data;
    X509 *x = d2i_X509(NULL, &at, (long)size);
    unsigned char *bytes = NULL;
    pki_der_t der = { NULL, 0 };
    int len = 0;

    if (x && X509_set_issuer_name(x, X509_get_subject_name(ca.cert))
        && X509_sign(x, ca.key, EVP_sha256())) {
        len = i2d_X509(x, &bytes);
    }
    if (x) {
        find_issuer(x);
    }
    if (len > 0) {
        der.bytes = apr_pmemdup(scratch, bytes, (apr_size_t)len);
        der.len = (apr_size_t)len;
    }
    OPENSSL_free(bytes);
    X509_free(x);
    ERR_clear_error();
    return der;
}

/* What a server sends for the issuer: only the CA itself is believed. */
static void offer_issuer(const uint8_t *data, size_t size)
{
    staple_cert_t *cert = add(orphan);
    int is_issuer;

    require(cert != NULL);
    is_issuer = staple_cert_adopt_issuer(cert, data, size, scratch);
    require(is_issuer == (cert->subject != NULL));
    require(!ERR_peek_error());
    if (is_issuer) {
        check_requests(cert);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pki_der_t der;

    if (!pool) {
        begin();
    }
    add(as_pem(data, size, issuer));
    add(as_pem(data, size, as_pem(data, size, "")));
    der = sign_again(data, size);
    if (der.bytes) {
        add(as_pem(der.bytes, der.len, issuer));
    }
    offer_issuer(data, size);
    apr_pool_clear(scratch);
    return 0;
}
