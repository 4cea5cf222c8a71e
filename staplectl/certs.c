/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: certificate files become leaves, each with its issuer where one of
 * the files has it.
 */

#include "staplectl.h"

#include <stdio.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* mod_ssl's id of a certificate, and so ours. */
#define ID_LEN 20

struct staplectl_certs_t {
    apr_pool_t *pool;
    apr_array_header_t *all;    /* X509 * */
    apr_array_header_t *leaves; /* staplectl_leaf_t */
    staple_cert_registry_t *registry;
};

staplectl_certs_t *staplectl_certs_make(apr_pool_t *p)
{
    staplectl_certs_t *certs = apr_pcalloc(p, sizeof(*certs));

    certs->pool = p;
    certs->all = apr_array_make(p, 4, sizeof(X509 *));
    certs->leaves = apr_array_make(p, 4, sizeof(staplectl_leaf_t));
    certs->registry = staple_cert_registry_make(p);
    return certs;
}

static apr_status_t free_x509(void *x)
{
    X509_free(x);
    return APR_SUCCESS;
}

void staplectl_certs_add(staplectl_certs_t *certs, X509 *x)
{
    X509_up_ref(x);
    apr_pool_cleanup_register(certs->pool, x, free_x509,
                              apr_pool_cleanup_null);
    APR_ARRAY_PUSH(certs->all, X509 *) = x;
}

const char *staplectl_certs_load(staplectl_certs_t *certs, const char *path)
{
    BIO *bio = BIO_new_file(path, "r");
    int before = certs->all->nelts;
    X509 *x;

    if (!bio) {
        ERR_clear_error();
        return apr_psprintf(certs->pool, "%s: cannot be read: %s", path,
                            strerror(errno));
    }
    while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        staplectl_certs_add(certs, x);
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return certs->all->nelts > before
           ? NULL
           : apr_psprintf(certs->pool, "%s: there is no PEM certificate in it",
                          path);
}

static X509 *find_issuer(const staplectl_certs_t *certs, X509 *leaf)
{
    int i;

    for (i = 0; i < certs->all->nelts; i++) {
        X509 *x = APR_ARRAY_IDX(certs->all, i, X509 *);

        if (X509_check_issued(x, leaf) == X509_V_OK) {
            return x;
        }
    }
    return NULL;
}

static const char *pem_of(X509 *leaf, X509 *issuer, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = NULL;
    char *data;
    long len;

    if (bio && PEM_write_bio_X509(bio, leaf)
        && PEM_write_bio_X509(bio, issuer)) {
        len = BIO_get_mem_data(bio, &data);
        text = apr_pstrmemdup(p, data, (apr_size_t)len);
    }
    BIO_free(bio);
    return text;
}

/* The registry wants an issuer; where there is none the leaf stands in, for
 * what is said of the leaf alone. Nothing is judged then. */
static const char *add_leaf(staplectl_certs_t *certs, X509 *leaf)
{
    apr_pool_t *p = certs->pool;
    staple_cert_policy_t policy = staplectl_usual_policy(p);
    staplectl_leaf_t *added = apr_array_push(certs->leaves);
    unsigned char id[EVP_MAX_MD_SIZE];
    const char *reason = "it cannot be read";
    const char *pem;

    added->leaf = leaf;
    added->issuer = find_issuer(certs, leaf);
    pem = pem_of(leaf, added->issuer ? added->issuer : leaf, p);
    if (!pem || !X509_digest(leaf, EVP_sha1(), id, NULL)
        || !(added->cert = staple_cert_add(certs->registry,
                                           (const char *)id, ID_LEN, pem, "", 0,
                                           &policy, &reason))) {
        return apr_pstrcat(p, "a certificate cannot be used: ", reason, NULL);
    }
    return NULL;
}

const char *staplectl_certs_finish(staplectl_certs_t *certs)
{
    const char *wrong = NULL;
    int i;

    for (i = 0; !wrong && i < certs->all->nelts; i++) {
        X509 *x = APR_ARRAY_IDX(certs->all, i, X509 *);

        if (!X509_check_ca(x)) {
            wrong = add_leaf(certs, x);
        }
    }
    return wrong;
}

int staplectl_certs_first(const staplectl_certs_t *certs,
                          staplectl_entry_t *entry)
{
    if (!certs->leaves->nelts) {
        return 0;
    }
    memset(entry, 0, sizeof(*entry));
    entry->host = "";
    staplectl_entry_set_cert(entry, &APR_ARRAY_IDX(certs->leaves, 0,
                                                   staplectl_leaf_t));
    return 1;
}

const staplectl_leaf_t *staplectl_certs_find(const staplectl_certs_t *certs,
                                             const unsigned char *id)
{
    int i;

    for (i = 0; i < certs->leaves->nelts; i++) {
        const staplectl_leaf_t *leaf = &APR_ARRAY_IDX(certs->leaves, i,
                                                      staplectl_leaf_t);

        if (!memcmp(leaf->cert->id, id, STAPLE_CACHE_ID_LEN)) {
            return leaf;
        }
    }
    return NULL;
}

const apr_array_header_t *staplectl_certs_leaves(const staplectl_certs_t *certs)
{
    return certs->leaves;
}
