/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SSLCTX_INT_H
#define STAPLE_SSLCTX_INT_H

/*
 * The inside of the room: what is known of an SSL_CTX that was taken. Written
 * in the parent, read-only in children.
 */

#include "staple_magic.h"
#include "staple_sslctx.h"

#include "libssl.h"

/** A certificate that is sent behind a server's own. */
typedef struct link_t {
    const staple_cert_t *cert; /* NULL: it names no responder */
    int is_must_staple;
} link_t;

/** A certificate of a server, with what is sent behind it. OpenSSL's objects
 * are the SSL_CTX's. */
typedef struct offer_t {
    X509 *x509;
    EVP_PKEY *key;
    STACK_OF(X509) *own_chain; /* NULL: the server's, if it has one */
    const staple_cert_t *cert; /* NULL: somebody else staples it */
    link_t *links;
    int links_count;
    int is_shared;             /* whether a link is to be stapled */
    int is_must_staple;        /* it, or a link */
} offer_t;

#define TAKEN_MAGIC 0x54414B4Eu

/** What the callbacks get. */
typedef struct taken_t {
    staple_magic_t magic;
    const staple_sslctx_t *all;
    const server_rec *server;
    offer_t *offers;
    int offers_count;
    int (*status)(SSL *ssl, void *arg); /* mod_ssl's own status callback */
    void *status_arg;
} taken_t;

#define SSLCTX_MAGIC 0x53435458u

struct staple_sslctx_t {
    staple_magic_t magic;
    int is_looked_for;   /* whether libssl was */
    libssl_t lib;
    const char *why_not; /* why it is not used; NULL: it is */
    int knows_chains;    /* whether it sends responses for a chain */
    staple_sslctx_must_e must;
    int mark;            /* the place in an SSL (SSL_set_ex_data) that says that
                            its client is a CA's; -1: there is none */
    staple_cache_t *cache; /* NULL: nothing is held yet */
    int taken;           /* how many SSL_CTX were */
    int links;           /* how many certificates of chains are stapled, over
                            all of them */
};

/** What is offered with that certificate; NULL: it is none of the server's own,
 * as where mod_md proves to an ACME server who it is. */
const offer_t *offer_find(const taken_t *taken, const X509 *x);

/** The status callback (RFC 6066 8): mod_ssl's own, and then the chain's. */
int chain_on_status(SSL *ssl, void *taken);

/** The certificate callback: which certificates a client may get. */
int must_on_choice(SSL *ssl, void *taken);

/** OpenSSL's debug callback for extensions: whether a client is a CA's.
 * @param all a staple_sslctx_t with a mark */
void must_on_extension(SSL *ssl, int is_from_server, int type,
                       const unsigned char *data, int len, void *all);

#endif /* STAPLE_SSLCTX_INT_H */
