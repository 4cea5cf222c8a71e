/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A response for each certificate of the chain (RFC 8446 4.4.2.1), in TLS 1.3.
 *
 * The one idea: mod_ssl's own callback does what it does without us, and leaves
 * the bytes for the server's certificate in the SSL. Then the rest of the chain
 * is looked up as that one was, by staple_handshake. libssl wants all of them
 * taken apart, in one stack, and encodes them again: that is the price, and it
 * is paid by a handshake that has something to add and no other.
 */

#include "sslctx_int.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "staple_handshake.h"

static void free_response(void *response)
{
    OCSP_RESPONSE_free(response);
}

static void drop(OPENSSL_STACK *stack)
{
    OPENSSL_sk_pop_free(stack, free_response);
}

static OCSP_RESPONSE *read_response(const unsigned char *der, apr_size_t len)
{
    return der ? d2i_OCSP_RESPONSE(NULL, &der, (long)len) : NULL;
}

#define ANSWER_MAGIC 0x414E5357u

/* What staple_handshake hands over. */
typedef struct answer_t {
    staple_magic_t magic;
    OCSP_RESPONSE *response; /* NULL: nothing */
} answer_t;

/* ap_ssl_ocsp_copy_resp */
static void take_response(const unsigned char *der, apr_size_t len,
                          void *userdata)
{
    answer_t *answer = STAPLE_CAST(answer_t, ANSWER_MAGIC, userdata);

    answer->response = read_response(der, len);
}

/* What mod_ssl's callback left. */
static OCSP_RESPONSE *first_response(const libssl_t *lib, SSL *ssl)
{
    const unsigned char *der = NULL;
    long len = lib->ctrl(ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0,
                         &der);

    return len > 0 ? read_response(der, (apr_size_t)len) : NULL;
}

static OCSP_RESPONSE *link_response(const taken_t *taken, const link_t *link)
{
    answer_t answer = { ANSWER_MAGIC, NULL };

    if (link->cert && link->cert->slot >= 0) {
        staple_handshake_answer(taken->all->cache, link->cert, take_response,
                                &answer);
    }
    return answer.response;
}

/* NULL: there is nothing to add. */
static OPENSSL_STACK *collect(const taken_t *taken, const offer_t *offer)
{
    OPENSSL_STACK *stack = OPENSSL_sk_new_reserve(NULL,
                                                  offer->links_count + 1);
    int i, found = 0;

    if (!stack || !OPENSSL_sk_push(stack, NULL)) {
        drop(stack);
        return NULL;
    }
    for (i = 0; i < offer->links_count; i++) {
        OCSP_RESPONSE *response = link_response(taken, &offer->links[i]);

        OPENSSL_sk_push(stack, response); /* there is room for it */
        found |= response != NULL;
    }
    if (!found) {
        drop(stack);
        stack = NULL;
    }
    return stack;
}

/* Whether libssl has something to send for the chain. */
static int add_responses(const taken_t *taken, SSL *ssl)
{
    const libssl_t *lib = &taken->all->lib;
    const offer_t *offer = offer_find(taken, lib->get_certificate(ssl));
    OPENSSL_STACK *stack = offer && offer->is_shared ? collect(taken, offer)
                                                     : NULL;
    int is_taken = 0;

    if (stack) {
        OPENSSL_sk_set(stack, 0, first_response(lib, ssl));
        is_taken = libssl_set_responses(lib, ssl, stack);
    }
    if (!is_taken) {
        drop(stack);
    }
    ERR_clear_error();
    return is_taken;
}

/* Where the server's own certificate has nothing to staple (NOACK), its chain
 * may have. */
int chain_on_status(SSL *ssl, void *arg)
{
    const taken_t *taken = STAPLE_CAST(const taken_t, TAKEN_MAGIC, arg);
    int verdict = taken->status(ssl, taken->status_arg);
    int may_add = verdict == SSL_TLSEXT_ERR_OK
                  || verdict == SSL_TLSEXT_ERR_NOACK;

    return may_add && taken->all->cache
           && taken->all->lib.version(ssl) == TLS1_3_VERSION
           && add_responses(taken, ssl) ? SSL_TLSEXT_ERR_OK : verdict;
}
