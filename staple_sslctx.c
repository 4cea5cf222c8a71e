/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Taking an SSL_CTX: which certificates a server has, what is sent behind each,
 * and which callbacks that calls for.
 *
 * The one idea: all is worked out at the start, from what mod_ssl has loaded,
 * so that a handshake compares pointers. What a client gets is libssl's choice;
 * we only say which response belongs to which certificate, and which
 * certificates there are to choose from.
 *
 * A chain that libssl puts together by itself at each handshake, out of
 * SSLCACertificateFile, is not seen here; only the one that is configured is.
 */

#include "sslctx/sslctx_int.h"

#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "staple_x509.h"

APLOG_USE_MODULE(staple);

/* No chain is longer; what lies behind is not looked at. */
#define LINKS_MAX 8

staple_sslctx_t *staple_sslctx_make(apr_pool_t *p)
{
    staple_sslctx_t *all = apr_pcalloc(p, sizeof(*all));

    all->magic = SSLCTX_MAGIC;
    all->mark = -1;
    return all;
}

/* ----- a certificate of a chain ----- */

/* What a server is taken with. */
typedef struct taking_t {
    staple_sslctx_t *all;
    const staple_sslctx_conf_t *conf;
    server_rec *server;
    SSL_CTX *ctx;
    apr_pool_t *p;
} taking_t;

static int is_must_staple(X509 *x)
{
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);
    staple_x509_t *read = len > 0 ? staple_x509_read(der, (apr_size_t)len)
                                  : NULL;
    int it_is = read && staple_x509_is_must_staple(read);

    staple_x509_free(read);
    OPENSSL_free(der);
    return it_is;
}

/* The certificate that signed one of the chain: in the chain itself, or among
 * the authorities that the server checks its clients by. The caller frees it.
 * */
static X509 *find_issuer(const taking_t *taking, const STACK_OF(X509) *chain,
                         X509 *x)
{
    X509 *issuer = staple_x509_find_issuer(chain, x);
    X509_STORE_CTX *search;

    if (issuer) {
        X509_up_ref(issuer);
        return issuer;
    }
    search = X509_STORE_CTX_new();
    if (search
        && X509_STORE_CTX_init(search, taking->all->lib.ctx_get_cert_store(
                                   taking->ctx), NULL, NULL)
        && X509_STORE_CTX_get1_issuer(&issuer, search, x) != 1) {
        issuer = NULL;
    }
    X509_STORE_CTX_free(search);
    return issuer;
}

/* Where the issuer is not known, the certificate itself stands in its place. */
static const char *pem_of(const taking_t *taking, const STACK_OF(X509) *chain,
                          X509 *x, apr_pool_t *p)
{
    X509 *issuer = find_issuer(taking, chain, x);
    const char *pem = staple_x509_pem(x, issuer ? issuer : x, p);

    X509_free(issuer);
    return pem;
}

static void add_link(const taking_t *taking, link_t *link,
                     const STACK_OF(X509) *chain, X509 *x)
{
    unsigned char id[EVP_MAX_MD_SIZE];
    staple_cert_use_t use = { .id = (const char *)id,
                              .id_len = STAPLE_ID_SSL_LEN,
                              .is_of_chain = 1 };
    const staple_cert_t *known;
    apr_pool_t *scratch;

    link->is_must_staple = is_must_staple(x);
    if (!taking->conf->is_chain || !taking->all->knows_chains
        || !staple_x509_has_responder(x)
        || !X509_digest(x, EVP_sha1(), id, NULL)) {
        return;
    }
    apr_pool_create(&scratch, taking->p);
    known = staple_cert_find(taking->conf->registry, use.id, use.id_len);
    if (!known || staple_cert_lacks_issuer(known)) {
        use.pem = pem_of(taking, chain, x, scratch);
    }
    link->cert = taking->conf->add(taking->server, &use);
    apr_pool_destroy(scratch);
}

static void add_links(const taking_t *taking, offer_t *offer,
                      const STACK_OF(X509) *chain)
{
    int count = chain ? sk_X509_num(chain) : 0;
    int i;

    offer->links_count = count > LINKS_MAX ? LINKS_MAX : count;
    offer->links = apr_pcalloc(taking->p, sizeof(link_t)
                                          * (apr_size_t)(offer->links_count
                                                         + 1));
    for (i = 0; i < offer->links_count; i++) {
        link_t *link = &offer->links[i];

        add_link(taking, link, chain, sk_X509_value(chain, i));
        offer->is_shared |= link->cert != NULL;
        offer->is_must_staple |= link->is_must_staple;
        taking->all->links += link->cert != NULL;
    }
}

/* ----- the certificates of a server ----- */

static const staple_cert_t *find_cert(const taking_t *taking, X509 *x)
{
    unsigned char id[EVP_MAX_MD_SIZE];

    return X509_digest(x, EVP_sha1(), id, NULL)
           ? staple_cert_find(taking->conf->registry, (const char *)id,
                              STAPLE_ID_SSL_LEN)
           : NULL;
}

/* What is sent behind the SSL_CTX's current certificate: its own chain, or else
 * the one of SSLCertificateChainFile, which is for all. OpenSSL 3.6 looks only
 * into the own one for the certificates that responses belong to, so that one
 * gets the same certificates; what is sent does not change. */
static STACK_OF(X509) *find_chain(const taking_t *taking)
{
    const libssl_t *lib = &taking->all->lib;
    STACK_OF(X509) *chain = NULL;

    lib->ctx_ctrl(taking->ctx, SSL_CTRL_GET_CHAIN_CERTS, 0, &chain);
    if (!chain) {
        lib->ctx_ctrl(taking->ctx, SSL_CTRL_GET_EXTRA_CHAIN_CERTS, 1, &chain);
        if (chain && taking->all->knows_chains) {
            lib->ctx_ctrl(taking->ctx, SSL_CTRL_CHAIN, 1, chain);
        }
    }
    return chain;
}

/* The SSL_CTX's current certificate, as libssl sends it. */
static void add_offer(const taking_t *taking, offer_t *offer)
{
    const libssl_t *lib = &taking->all->lib;
    SSL_CTX *ctx = taking->ctx;
    STACK_OF(X509) *chain = find_chain(taking);

    offer->x509 = lib->ctx_get0_certificate(ctx);
    offer->key = lib->ctx_get0_privatekey(ctx);
    offer->cert = find_cert(taking, offer->x509);
    lib->ctx_ctrl(ctx, SSL_CTRL_GET_CHAIN_CERTS, 0, &offer->own_chain);
    offer->is_must_staple = offer->cert && offer->cert->is_must_staple;
    add_links(taking, offer, chain);
}

static int count_offers(const taking_t *taking)
{
    const libssl_t *lib = &taking->all->lib;
    long is_there = lib->ctx_ctrl(taking->ctx, SSL_CTRL_SET_CURRENT_CERT,
                                  SSL_CERT_SET_FIRST, NULL);
    int count = 0;

    while (is_there) {
        count++;
        is_there = lib->ctx_ctrl(taking->ctx, SSL_CTRL_SET_CURRENT_CERT,
                                 SSL_CERT_SET_NEXT, NULL);
    }
    return count;
}

/* The last one stays the current one, as mod_ssl leaves it. */
static void add_offers(const taking_t *taking, taken_t *taken)
{
    const libssl_t *lib = &taking->all->lib;
    int i;

    taken->offers_count = count_offers(taking);
    taken->offers = apr_pcalloc(taking->p, sizeof(offer_t)
                                           * (apr_size_t)(taken->offers_count
                                                          + 1));
    for (i = 0; i < taken->offers_count; i++) {
        lib->ctx_ctrl(taking->ctx, SSL_CTRL_SET_CURRENT_CERT,
                      i ? SSL_CERT_SET_NEXT : SSL_CERT_SET_FIRST, NULL);
        add_offer(taking, &taken->offers[i]);
    }
}

const offer_t *offer_find(const taken_t *taken, const X509 *x)
{
    int i;

    for (i = 0; i < taken->offers_count; i++) {
        if (taken->offers[i].x509 == x) {
            return &taken->offers[i];
        }
    }
    return NULL;
}

/* ----- callbacks ----- */

static void put_status_callback(const taking_t *taking, taken_t *taken)
{
    const libssl_t *lib = &taking->all->lib;
    SSL_CTX *ctx = taking->ctx;

    lib->ctx_ctrl(ctx, SSL_CTRL_GET_TLSEXT_STATUS_REQ_CB, 0,
                  (void *)&taken->status);
    lib->ctx_ctrl(ctx, SSL_CTRL_GET_TLSEXT_STATUS_REQ_CB_ARG, 0,
                  (void *)&taken->status_arg);
    if (taken->status) { /* without it, nothing at all is stapled here */
        lib->ctx_ctrl(ctx, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB_ARG, 0, taken);
        lib->ctx_callback_ctrl(ctx, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB,
                               (void (*)(void))chain_on_status);
    }
}

static void put_callbacks(const taking_t *taking, taken_t *taken)
{
    int is_shared = 0, is_must_staple = 0;
    int i;

    for (i = 0; i < taken->offers_count; i++) {
        is_shared |= taken->offers[i].is_shared;
        is_must_staple |= taken->offers[i].is_must_staple;
    }
    if (is_shared) {
        put_status_callback(taking, taken);
    }
    if (is_must_staple && taking->conf->must != STAPLE_SSLCTX_MUST_NOTHING) {
        taking->all->lib.ctx_set_cert_cb(taking->ctx, must_on_choice, taken);
    }
}

static int is_wanted(const staple_sslctx_conf_t *conf)
{
    return conf->is_chain || conf->must != STAPLE_SSLCTX_MUST_NOTHING;
}

static apr_status_t drop_mark(void *data)
{
    staple_sslctx_t *all = STAPLE_CAST(staple_sslctx_t, SSLCTX_MAGIC, data);

    CRYPTO_free_ex_index(CRYPTO_EX_INDEX_SSL, all->mark);
    return APR_SUCCESS;
}

static void make_mark(staple_sslctx_t *all, apr_pool_t *p)
{
    all->mark = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL,
                                        NULL, NULL);
    if (all->mark >= 0) {
        apr_pool_cleanup_register(p, all, drop_mark, apr_pool_cleanup_null);
    }
}

/* Once: all servers are of one mod_ssl. */
static void look_for_libssl(staple_sslctx_t *all,
                            const staple_sslctx_conf_t *conf, SSL_CTX *ctx,
                            apr_pool_t *p)
{
    all->is_looked_for = 1;
    all->why_not = libssl_find(&all->lib, ctx);
    all->knows_chains = !all->why_not && conf->is_chain
                        && libssl_knows_chains(&all->lib, ctx);
    all->must = conf->must;
    if (!all->why_not && all->must != STAPLE_SSLCTX_MUST_NOTHING) {
        make_mark(all, p);
    }
}

static int is_usable(staple_sslctx_t *all, const staple_sslctx_conf_t *conf,
                     SSL_CTX *ctx, apr_pool_t *p)
{
    if (!all->is_looked_for) {
        look_for_libssl(all, conf, ctx, p);
    }
    return !all->why_not;
}

void staple_sslctx_take(staple_sslctx_t *all, const staple_sslctx_conf_t *conf,
                        server_rec *s, struct ssl_ctx_st *ctx, apr_pool_t *p)
{
    taking_t taking = { all, conf, s, ctx, p };
    taken_t *taken;

    if (!ctx || !is_wanted(conf) || !is_usable(all, conf, ctx, p)) {
        return;
    }
    taken = apr_pcalloc(p, sizeof(*taken));
    taken->magic = TAKEN_MAGIC;
    taken->all = all;
    taken->server = s;
    add_offers(&taking, taken);
    put_callbacks(&taking, taken);
    all->taken++;
    ERR_clear_error();
}

void staple_sslctx_meet(staple_sslctx_t *all, struct ssl_st *ssl)
{
    if (all->taken && all->mark >= 0) {
        all->lib.ctrl(ssl, SSL_CTRL_SET_TLSEXT_DEBUG_ARG, 0, all);
        all->lib.callback_ctrl(ssl, SSL_CTRL_SET_TLSEXT_DEBUG_CB,
                               (void (*)(void))must_on_extension);
    }
}

/* ----- what is said ----- */

static const char *why_nothing(const staple_sslctx_t *all)
{
    return all->is_looked_for ? all->why_not
           : "mod_ssl is not loaded, or no virtual host has SSLEngine on";
}

/* Behind the version of OpenSSL. */
static const char too_old[] = " cannot do it, OpenSSL 3.6 can";

const char *staple_sslctx_foresee_chain(apr_pool_t *p)
{
    return libssl_may_know_chains()
           ? NULL
           : apr_pstrcat(p, OpenSSL_version(OPENSSL_VERSION), too_old, NULL);
}

static void log_chain(const staple_sslctx_t *all, const server_rec *s)
{
    const char *why = why_nothing(all);

    if (why || !all->knows_chains) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0250: StapleChain on "
                     "has no effect: responses for the certificates of a chain "
                     "cannot be sent: %s%s; certificates of sites are stapled "
                     "as without it",
                     why ? why : OpenSSL_version(OPENSSL_VERSION),
                     why ? "" : too_old);
    }
}

void staple_sslctx_begin(staple_sslctx_t *all, const staple_sslctx_conf_t *conf,
                         staple_cache_t *cache, const server_rec *s)
{
    all->cache = cache;
    if (conf->is_chain) {
        log_chain(all, s);
    }
    if (conf->must != STAPLE_SSLCTX_MUST_NOTHING && why_nothing(all)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0251: "
                     "StapleMustStaple %s does as warn does: %s",
                     conf->must == STAPLE_SSLCTX_MUST_REFUSE ? "refuse"
                                                             : "strict",
                     why_nothing(all));
    }
}
