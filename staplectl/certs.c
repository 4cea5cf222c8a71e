/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: certificate files become leaves, each with its issuer where one of
 * the files has it.
 */

#include "staplectl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "staple_x509.h"

/* How many certificates of a small file are read: no server sends more, and to
 * decode the thousands that 1 MB has room for takes a tenth of a second. */
#define SMALL_MAX 32

struct staplectl_certs_t {
    apr_pool_t *pool;
    STACK_OF(X509) *all;
    X509 *server;               /* of all, what a server showed; NULL: none */
    apr_array_header_t *leaves; /* staplectl_leaf_t */
};

static apr_status_t free_all(void *all)
{
    sk_X509_pop_free(all, X509_free);
    return APR_SUCCESS;
}

staplectl_certs_t *staplectl_certs_make(apr_pool_t *p)
{
    staplectl_certs_t *certs = apr_pcalloc(p, sizeof(*certs));

    certs->pool = p;
    certs->all = sk_X509_new_null();
    apr_pool_cleanup_register(p, certs->all, free_all, apr_pool_cleanup_null);
    certs->leaves = apr_array_make(p, 4, sizeof(staplectl_leaf_t));
    return certs;
}

void staplectl_certs_add(staplectl_certs_t *certs, X509 *x)
{
    if (sk_X509_push(certs->all, x)) {
        X509_up_ref(x);
    }
}

void staplectl_certs_add_server(staplectl_certs_t *certs, X509 *x)
{
    certs->server = x;
    staplectl_certs_add(certs, x);
}

/* Of the first certificates as many as that.
 * @param bio NULL: it could not be opened, as errno says; else freed here */
static const char *read_certs(staplectl_certs_t *certs, BIO *bio, int most)
{
    int before = sk_X509_num(certs->all);
    X509 *x;

    if (!bio) {
        ERR_clear_error();
        return apr_pstrcat(certs->pool, "cannot be read: ", strerror(errno),
                           NULL);
    }
    while (most-- > 0 && (x = staple_x509_next(bio))) {
        staplectl_certs_add(certs, x);
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return sk_X509_num(certs->all) > before
           ? NULL : "there is no PEM certificate in it";
}

const char *staplectl_certs_load(staplectl_certs_t *certs, const char *path)
{
    return read_certs(certs, BIO_new_file(path, "r"), INT_MAX);
}

const char *staplectl_certs_load_small(staplectl_certs_t *certs,
                                       const char *path, apr_size_t max)
{
    unsigned char *bytes = apr_palloc(certs->pool, max + 1);
    apr_time_t changed;
    apr_ssize_t len = staplectl_read_regular(path, bytes, max + 1, &changed);

    return read_certs(certs,
                      len < 0 ? NULL : BIO_new_mem_buf(bytes, (int)len),
                      SMALL_MAX);
}

/* The registry wants an issuer; where there is none the leaf stands in, for
 * what is said of the leaf alone. Nothing is judged then. */
static const char *describe(staple_cert_registry_t *registry,
                            const staplectl_leaf_t *pair,
                            const staple_cert_t **cert, apr_pool_t *p,
                            apr_pool_t *ptemp)
{
    X509 *behind = pair->issuer ? pair->issuer : pair->leaf;
    unsigned char id[EVP_MAX_MD_SIZE];
    const char *reason = "it cannot be read";
    staple_cert_use_t use = { .id = (const char *)id,
                              .id_len = STAPLE_ID_SSL_LEN, .host = "",
                              .policy = staplectl_usual_policy(p) };

    use.pem = staple_x509_pem(pair->leaf, behind, ptemp);
    if (use.pem && X509_digest(pair->leaf, EVP_sha1(), id, NULL)) {
        *cert = staple_cert_add(registry, &use, &reason);
    }
    return *cert ? NULL : apr_pstrcat(ptemp, "a certificate cannot be used: ",
                                      reason, NULL);
}

static staplectl_leaf_t pair_of(const staplectl_certs_t *certs, X509 *leaf)
{
    staplectl_leaf_t pair = { leaf, staple_x509_find_signer(certs->all, leaf),
                              NULL };

    return pair;
}

static int is_leaf(const staplectl_certs_t *certs, X509 *x)
{
    return x == certs->server || !X509_check_ca(x);
}

/* The index of the first one from i on; past the end: there is none. */
static int next_leaf(const staplectl_certs_t *certs, int i)
{
    while (i < sk_X509_num(certs->all)
           && !is_leaf(certs, sk_X509_value(certs->all, i))) {
        i++;
    }
    return i;
}

const char *staplectl_certs_finish(staplectl_certs_t *certs)
{
    apr_pool_t *p = certs->pool;
    staple_cert_registry_t *registry = staple_cert_registry_make(p);
    const char *wrong = NULL;
    int i = next_leaf(certs, 0);

    for (; !wrong && i < sk_X509_num(certs->all); i = next_leaf(certs, i + 1)) {
        staplectl_leaf_t *added = apr_array_push(certs->leaves);

        *added = pair_of(certs, sk_X509_value(certs->all, i));
        wrong = describe(registry, added, &added->cert, p, p);
    }
    return wrong;
}

const char *staplectl_certs_first(const staplectl_certs_t *certs,
                                  const staple_cert_t **cert, apr_pool_t *p)
{
    staple_cert_registry_t *registry;
    staplectl_leaf_t pair;
    const char *wrong;
    int i = next_leaf(certs, 0);

    *cert = NULL;
    if (i == sk_X509_num(certs->all)) {
        return "there is no certificate of a server in it";
    }
    registry = staple_cert_registry_make(p);
    pair = pair_of(certs, sk_X509_value(certs->all, i));
    wrong = describe(registry, &pair, cert, p, certs->pool);
    staple_cert_registry_finish(registry);
    return wrong;
}

const staplectl_leaf_t *staplectl_certs_server(const staplectl_certs_t *certs)
{
    int i;

    for (i = 0; i < certs->leaves->nelts; i++) {
        const staplectl_leaf_t *leaf = &APR_ARRAY_IDX(certs->leaves, i,
                                                      staplectl_leaf_t);

        if (leaf->leaf == certs->server) {
            return leaf;
        }
    }
    return NULL;
}

const staplectl_leaf_t *staplectl_certs_find(const staplectl_certs_t *certs,
                                             const unsigned char *id)
{
    int i;

    for (i = 0; i < certs->leaves->nelts; i++) {
        const staplectl_leaf_t *leaf = &APR_ARRAY_IDX(certs->leaves, i,
                                                      staplectl_leaf_t);

        if (!memcmp(leaf->cert->id, id, STAPLE_ID_LEN)) {
            return leaf;
        }
    }
    return NULL;
}

const apr_array_header_t *staplectl_certs_leaves(const staplectl_certs_t *certs)
{
    return certs->leaves;
}
