/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Must-staple kept at run time: a certificate that clients refuse without a
 * staple is not offered while there is none, if the client can use another one
 * of the virtual host.
 *
 * The one idea: libssl chooses a certificate after this callback, from those
 * that the SSL has. So what has nothing to staple is taken out of the SSL,
 * which has a copy of the server's for itself, and libssl chooses as it always
 * does. It is taken out only if something is left that libssl's own check calls
 * usable with this client, and for which the client has named a signature and a
 * cipher.
 *
 * A client that asks for no staple does not miss one (RFC 7633 binds those that
 * ask), and gets what it always got.
 */

#include "sslctx_int.h"

#include <string.h>

#include <http_config.h>
#include <http_log.h>

#include <openssl/err.h>

#include "staple_handshake.h"

APLOG_USE_MODULE(staple);

/* More certificates than kinds of keys there cannot be. */
#define OFFERS_MAX 16

/* What one handshake has to choose from. */
typedef struct choice_t {
    const taken_t *taken;
    SSL *ssl;
    const offer_t *kept[OFFERS_MAX]; /* those that stay */
    int kept_count;
    const offer_t *lacking;          /* one that has nothing to staple */
} choice_t;

/* ----- a CA's client ----- */

/* Whether the content of the extension ALPN (RFC 7301 3.1) has the protocol in
 * which CAs look at an answer to the challenge tls-alpn-01 (RFC 8737 4). */
static int offers_acme(const unsigned char *data, int len)
{
    static const char acme[] = "\x0a" "acme-tls/1";
    const int size = (int)sizeof(acme) - 1;
    int at = 2; /* behind the length of all */

    while (at + size <= len) {
        if (!memcmp(data + at, acme, (size_t)size)) {
            return 1;
        }
        at += 1 + data[at];
    }
    return 0;
}

/* libssl tells a callback of ALPN after it has chosen a certificate (TLS 1.2),
 * and then mod_ssl puts in the one of mod_md's challenge. This one is told when
 * the ClientHello is read, before the server's name has led to an SSL_CTX, so
 * what it has seen is kept in the SSL. */
void must_on_extension(SSL *ssl, int is_from_server, int type,
                       const unsigned char *data, int len, void *arg)
{
    staple_sslctx_t *all = STAPLE_CAST(staple_sslctx_t, SSLCTX_MAGIC, arg);

    (void)is_from_server;
    if (type == TLSEXT_TYPE_application_layer_protocol_negotiation) {
        all->lib.set_ex_data(ssl, all->mark,
                             offers_acme(data, len) ? all : NULL);
    }
}

static int is_of_a_ca(const staple_sslctx_t *all, SSL *ssl)
{
    return all->mark >= 0 && all->lib.get_ex_data(ssl, all->mark);
}

/* ----- what has nothing to staple ----- */

static int has_staple(const choice_t *choice, const staple_cert_t *cert)
{
    return cert && cert->slot >= 0
           && staple_handshake_has(choice->taken->all->cache, cert);
}

static int is_chain_sent(const choice_t *choice)
{
    const libssl_t *lib = &choice->taken->all->lib;

    return lib->version(choice->ssl) == TLS1_3_VERSION;
}

/* A certificate that somebody else staples is that one's affair. */
static int lacks_staple(const choice_t *choice, const offer_t *offer)
{
    int i;

    if (!offer->is_must_staple || !offer->cert) {
        return 0;
    }
    if (offer->cert->is_must_staple && !has_staple(choice, offer->cert)) {
        return 1;
    }
    for (i = 0; i < offer->links_count; i++) {
        const link_t *link = &offer->links[i];

        if (link->is_must_staple
            && !(is_chain_sent(choice) && has_staple(choice, link->cert))) {
            return 1;
        }
    }
    return 0;
}

/* ----- what a client can use ----- */

/* The kind of key that signs: RSA signs in two ways. */
static int kind_of(int type)
{
    return type == EVP_PKEY_RSA_PSS ? EVP_PKEY_RSA : type;
}

/* Whether the client takes a signature of the certificate's key. In TLS 1.2,
 * libssl's own check looks at those in the chain only. */
static int has_signature(const choice_t *choice, const offer_t *offer)
{
    const libssl_t *lib = &choice->taken->all->lib;
    int count = lib->get_sigalgs(choice->ssl, 0, NULL, NULL, NULL, NULL, NULL);
    int kind = kind_of(EVP_PKEY_base_id(offer->key));
    int i, type;

    for (i = 0; i < count; i++) {
        lib->get_sigalgs(choice->ssl, i, &type, NULL, NULL, NULL, NULL);
        if (kind_of(type) == kind) {
            return 1;
        }
    }
    return !count; /* it does not say (RFC 5246 7.4.1.4.1) */
}

/* In TLS 1.3 a cipher says nothing of the certificate. Before, one that both
 * have must want a certificate of this kind. */
static int has_cipher(const choice_t *choice, const offer_t *offer)
{
    const libssl_t *lib = &choice->taken->all->lib;
    const STACK_OF(SSL_CIPHER) *ours = lib->get_ciphers(choice->ssl);
    const STACK_OF(SSL_CIPHER) *theirs = lib->get_client_ciphers(choice->ssl);
    int kind = kind_of(EVP_PKEY_base_id(offer->key)) == EVP_PKEY_RSA
               ? NID_auth_rsa : NID_auth_ecdsa;
    int i;

    if (lib->version(choice->ssl) == TLS1_3_VERSION) {
        return 1;
    }
    for (i = 0; i < sk_SSL_CIPHER_num(theirs); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(theirs, i);

        if (lib->cipher_get_auth_nid(cipher) == kind
            && sk_SSL_CIPHER_find((STACK_OF(SSL_CIPHER) *)ours, cipher) >= 0) {
            return 1;
        }
    }
    return 0;
}

static int is_usable(const choice_t *choice, const offer_t *offer)
{
    const libssl_t *lib = &choice->taken->all->lib;
    int verdict = lib->check_chain(choice->ssl, offer->x509, offer->key,
                                   offer->own_chain);

    return verdict & CERT_PKEY_VALID && has_signature(choice, offer)
           && has_cipher(choice, offer);
}

static int is_any_usable(const choice_t *choice)
{
    int i;

    for (i = 0; i < choice->kept_count; i++) {
        if (is_usable(choice, choice->kept[i])) {
            return 1;
        }
    }
    return 0;
}

/* ----- the choice ----- */

/* Walk through the certificates that the SSL has now: after a
 * HelloRetryRequest, some may be gone already. Returns whether all of them are
 * the server's own. */
static int see_certificates(choice_t *choice)
{
    const libssl_t *lib = &choice->taken->all->lib;
    long is_there = lib->ctrl(choice->ssl, SSL_CTRL_SET_CURRENT_CERT,
                              SSL_CERT_SET_FIRST, NULL);

    while (is_there) {
        const offer_t *offer = offer_find(choice->taken,
                                          lib->get_certificate(choice->ssl));

        if (!offer || choice->kept_count == OFFERS_MAX) {
            return 0;
        }
        if (lacks_staple(choice, offer)) {
            choice->lacking = offer;
        }
        else {
            choice->kept[choice->kept_count++] = offer;
        }
        is_there = lib->ctrl(choice->ssl, SSL_CTRL_SET_CURRENT_CERT,
                             SSL_CERT_SET_NEXT, NULL);
    }
    return 1;
}

/* Returns 0 where OpenSSL has no memory: the handshake cannot go on then. */
static int keep_only(const choice_t *choice)
{
    const libssl_t *lib = &choice->taken->all->lib;
    int i, is_done = 1;

    lib->certs_clear(choice->ssl);
    for (i = 0; i < choice->kept_count; i++) {
        const offer_t *offer = choice->kept[i];

        is_done &= lib->use_cert_and_key(choice->ssl, offer->x509, offer->key,
                                         offer->own_chain, 1) == 1;
    }
    return is_done;
}

static int asks_for_staple(const taken_t *taken, SSL *ssl)
{
    return taken->all->lib.ctrl(ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_TYPE, 0,
                                NULL) == TLSEXT_STATUSTYPE_ocsp;
}

/* Logged once in the life of a ring: what becomes of the response itself, the
 * refresh says each time. */
static void note(const choice_t *choice, staple_cache_must_e what)
{
    static const char *const texts[] = {
        [STAPLE_CACHE_MUST_AVOIDED] = "are given another certificate of the "
            "virtual host",
        [STAPLE_CACHE_MUST_REFUSED] = "that cannot use another certificate "
            "are refused",
        [STAPLE_CACHE_MUST_BROKEN] = "that cannot use another certificate get "
            "this one without a staple"
    };
    const taken_t *taken = choice->taken;

    if (staple_cache_count_must(taken->all->cache, what) == 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, taken->server, "STP0252: "
                     "%s: a must-staple certificate has nothing to staple, and "
                     "clients %s; this is said once, and counted on the status "
                     "page", choice->lacking->cert->name, texts[what]);
    }
}

static int decide(const choice_t *choice)
{
    if (is_any_usable(choice)) {
        note(choice, STAPLE_CACHE_MUST_AVOIDED);
        return keep_only(choice);
    }
    if (choice->taken->all->must == STAPLE_SSLCTX_MUST_REFUSE) {
        note(choice, STAPLE_CACHE_MUST_REFUSED);
        return 0; /* libssl sends internal_error */
    }
    note(choice, STAPLE_CACHE_MUST_BROKEN);
    return 1;
}

int must_on_choice(SSL *ssl, void *arg)
{
    choice_t choice = {
        .taken = STAPLE_CAST(const taken_t, TAKEN_MAGIC, arg), .ssl = ssl
    };
    int verdict = 1;

    if (choice.taken->all->cache && asks_for_staple(choice.taken, ssl)
        && !is_of_a_ca(choice.taken->all, ssl)
        && see_certificates(&choice) && choice.lacking) {
        verdict = decide(&choice);
    }
    ERR_clear_error();
    return verdict;
}
