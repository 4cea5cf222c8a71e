/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SSLCTX_H
#define STAPLE_SSLCTX_H

/*
 * What needs more of OpenSSL than httpd's two stapling hooks give: the
 * responses for the rest of the chain (StapleChain), and must-staple kept at
 * run time (StapleMustStaple strict and refuse). mod_ssl shows each SSL_CTX
 * that it has made to its optional hook init_server; callbacks of ours are put
 * on it there.
 *
 * The module is not linked to libssl. Its functions are found at run time, in
 * the very library that mod_ssl uses, because two of them in one process crash
 * as soon as one is given what the other made. Wherever it is not certain which
 * one that is, nothing is put on any SSL_CTX, and one line says why.
 *
 * The order of calls, with the process:
 *
 *   parent    staple_sslctx_make     once per pre_config
 *             staple_sslctx_take     for each server, in the hook init_server
 *             staple_sslctx_begin    once per post_config, when there is a ring
 *   children  staple_sslctx_meet     for each connection, in the hook
 *                                    pre_handshake
 *             the callbacks, in any thread; they take no lock
 */

#include <httpd.h>

#include "staple_cache.h"
#include "staple_cert.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ssl_ctx_st;
struct ssl_st;

/** The type that APR_OPTIONAL_HOOK(ssl, init_server, ...) wants. The header
 * that has it, mod_ssl_openssl.h, is in a package of its own (Debian:
 * apache2-ssl-dev) or in none; it has been the same since httpd 2.4.19. */
typedef int ssl_HOOK_init_server_t(server_rec *s, apr_pool_t *p, int is_proxy,
                                   struct ssl_ctx_st *ctx);

/** The same for APR_OPTIONAL_HOOK(ssl, pre_handshake, ...). */
typedef int ssl_HOOK_pre_handshake_t(conn_rec *c, struct ssl_st *ssl,
                                     int is_proxy);

/** What to do at run time about a must-staple certificate with nothing to
 * staple, for clients that ask for a staple. */
typedef enum {
    STAPLE_SSLCTX_MUST_NOTHING,
    STAPLE_SSLCTX_MUST_AVOID, /* offer another certificate of the virtual host
                                 that the client can use; without one, go on */
    STAPLE_SSLCTX_MUST_REFUSE /* the same; without one, refuse the handshake */
} staple_sslctx_must_e;

/**
 * Enter a certificate of a chain into the registry. Called for each server and
 * each certificate of its chains that names an OCSP responder.
 * @param use host, rank and policy are for the callee to fill in; pem is NULL
 *        where the registry has the certificate already
 * @return the record, or NULL
 */
typedef staple_cert_t *staple_sslctx_add_fn(server_rec *s,
                                            staple_cert_use_t *use);

typedef struct staple_sslctx_conf_t {
    int is_chain;                     /* StapleChain */
    staple_sslctx_must_e must;        /* StapleMustStaple */
    const staple_cert_registry_t *registry;
    staple_sslctx_add_fn *add;
} staple_sslctx_conf_t;

/** All of a generation. */
typedef struct staple_sslctx_t staple_sslctx_t;

/** Nothing is taken yet. */
staple_sslctx_t *staple_sslctx_make(apr_pool_t *p);

/**
 * Take a server's SSL_CTX: see which certificates and chains it has, and put
 * callbacks on it as far as conf asks for them. mod_ssl has finished it: what
 * callbacks there are go on being called.
 * @param conf the same for all servers
 * @param ctx lives as long as p does
 */
void staple_sslctx_take(staple_sslctx_t *all, const staple_sslctx_conf_t *conf,
                        server_rec *s, struct ssl_ctx_st *ctx, apr_pool_t *p);

/**
 * A connection begins: see whether its client is one with which a CA looks at
 * the answer to a challenge (RFC 8737). It gets what it comes for, whatever
 * StapleMustStaple says. In a child, in any thread.
 * @param ssl made by mod_ssl for a client, and not used yet
 */
void staple_sslctx_meet(staple_sslctx_t *all, struct ssl_st *ssl);

/**
 * Whether StapleChain can have an effect, as far as that can be told without a
 * start of mod_ssl. In any process.
 * @return NULL, or why not: a phrase, from p
 */
const char *staple_sslctx_foresee_chain(apr_pool_t *p);

/**
 * From now on the callbacks answer, out of this ring. Logs once what was taken,
 * or why nothing was although conf asks for it.
 * @param cache NULL: there is none
 * @param s the main server, for the log
 */
void staple_sslctx_begin(staple_sslctx_t *all, const staple_sslctx_conf_t *conf,
                         staple_cache_t *cache, const server_rec *s);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_SSLCTX_H */
