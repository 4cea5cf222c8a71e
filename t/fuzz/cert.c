/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fuzz target: a certificate that a customer has uploaded, which the parent
 * reads. The input is the leaf's DER; it comes as mod_ssl hands it over, in
 * PEM with its issuer behind it. Whatever is in it, it is refused with a
 * reason, or there is a record whose texts are printable and whose scope says
 * why nothing is asked.
 */

#include "staple_cert.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "../unit/pki.h"
#include "ocsp_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static apr_pool_t *pool, *scratch;
static const char *issuer;

static void require(int is_true)
{
    if (!is_true) {
        abort();
    }
}

static void end(void)
{
    apr_pool_destroy(pool);
    apr_terminate();
}

static void begin(void)
{
    pki_id_t ca;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    apr_pool_create(&scratch, pool);
    atexit(end);
    ca = pki_read(PAIR_CA, pool);
    issuer = pki_pem(&ca, pool);
}

static const char *as_pem(const uint8_t *der, size_t len)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long text_len;

    PEM_write_bio(bio, "CERTIFICATE", "", der, (long)len);
    text_len = BIO_get_mem_data(bio, &text);
    text = apr_pstrmemdup(scratch, text, (apr_size_t)text_len);
    BIO_free(bio);
    return apr_pstrcat(scratch, text, issuer, NULL);
}

static void check_text(const char *text)
{
    for (; text && *text; text++) {
        require((unsigned char)*text >= ' ' && *text != 0x7f);
    }
}

static void check(const staple_cert_t *cert)
{
    int i;

    check_text(cert->name);
    check_text(cert->serial);
    check_text(cert->subject_dn);
    check_text(cert->issuer_dn);
    for (i = 0; i < cert->urls->nelts; i++) {
        check_text(APR_ARRAY_IDX(cert->urls, i, const char *));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const staple_cert_policy_t none;
    staple_cert_policy_t policy = none;
    const char *reason = NULL;
    staple_cert_registry_t *registry;
    staple_cert_use_t use = { "id", 2, NULL, "host.test:443", 0, &policy };
    staple_cert_t *cert;

    if (!pool) {
        begin();
    }
    policy.times.max_age = policy.refresh_age = -1;
    policy.response_files = apr_array_make(scratch, 1, sizeof(const char *));
    registry = staple_cert_registry_make(scratch);
    use.pem = as_pem(data, size);
    cert = staple_cert_add(registry, &use, &reason);
    if (cert) {
        check(cert);
    }
    else {
        require(reason && *reason);
    }
    require(!ERR_peek_error());
    apr_pool_clear(scratch);
    return 0;
}
