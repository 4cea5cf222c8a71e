/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SSLCTX_LIBSSL_H
#define STAPLE_SSLCTX_LIBSSL_H

/*
 * The functions of the libssl that mod_ssl uses, found at run time. Each has
 * the type that OpenSSL's header gives it.
 */

#include <openssl/ssl.h>

/** The ones that are used. OpenSSL has had all of them since 1.1.1. */
typedef struct libssl_t {
    __typeof__(SSL_CTX_ctrl) *ctx_ctrl;
    __typeof__(SSL_CTX_callback_ctrl) *ctx_callback_ctrl;
    __typeof__(SSL_CTX_get0_certificate) *ctx_get0_certificate;
    __typeof__(SSL_CTX_get0_privatekey) *ctx_get0_privatekey;
    __typeof__(SSL_CTX_get_cert_store) *ctx_get_cert_store;
    __typeof__(SSL_CTX_get_ssl_method) *ctx_get_ssl_method;
    __typeof__(SSL_CTX_set_cert_cb) *ctx_set_cert_cb;
    __typeof__(SSL_new) *ssl_new;
    __typeof__(SSL_free) *ssl_free;
    __typeof__(SSL_ctrl) *ctrl;
    __typeof__(SSL_callback_ctrl) *callback_ctrl;
    __typeof__(SSL_set_ex_data) *set_ex_data;
    __typeof__(SSL_get_ex_data) *get_ex_data;
    __typeof__(SSL_version) *version;
    __typeof__(SSL_get_certificate) *get_certificate;
    __typeof__(SSL_check_chain) *check_chain;
    __typeof__(SSL_certs_clear) *certs_clear;
    __typeof__(SSL_use_cert_and_key) *use_cert_and_key;
    __typeof__(SSL_get_sigalgs) *get_sigalgs;
    __typeof__(SSL_get_ciphers) *get_ciphers;
    __typeof__(SSL_get_client_ciphers) *get_client_ciphers;
    __typeof__(SSL_CIPHER_get_auth_nid) *cipher_get_auth_nid;
} libssl_t;

/**
 * Find them.
 * @param ctx made by mod_ssl: what was found has to be the library that made it
 * @return NULL, or in words why it cannot be told which library that is
 */
const char *libssl_find(libssl_t *lib, SSL_CTX *ctx);

/** Whether the version of OpenSSL allows that. */
int libssl_may_know_chains(void);

/** Whether it sends a response for each certificate of a chain: OpenSSL 3.6. */
int libssl_knows_chains(const libssl_t *lib, SSL_CTX *ctx);

/** Give it a stack of OCSP_RESPONSE *, one for each certificate in the order in
 * which they are sent, NULL where there is none. It owns it then.
 * @return whether it took it */
int libssl_set_responses(const libssl_t *lib, SSL *ssl, OPENSSL_STACK *stack);

#endif /* STAPLE_SSLCTX_LIBSSL_H */
