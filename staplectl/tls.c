/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: a handshake as a client's that wants a staple.
 *
 * The one idea: the certificates are taken as they come, because what is
 * asked is whether the staple is true for them; whether they lead to a root
 * that somebody trusts is another question, and other tools answer it.
 *
 * One deadline covers connecting and shaking hands. Resolving the name is the
 * system's and has its own.
 */

#include "staplectl.h"

#include <poll.h>
#include <signal.h>

#include <apr_network_io.h>
#include <apr_portable.h>
#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "staple_clock.h"
#include "staple_text.h"

/* Try each address of the host until the time is over. */
static const char *reach(const staplectl_target_t *target, apr_time_t deadline,
                         apr_socket_t **socket, apr_pool_t *p)
{
    apr_sockaddr_t *address;
    apr_status_t rv = apr_sockaddr_info_get(&address, target->host, APR_UNSPEC,
                                            target->port, 0, p);

    if (rv) {
        return apr_psprintf(p, "%s: %s", target->host,
                            staple_text_error(rv, p));
    }
    for (; address; address = address->next) {
        rv = apr_socket_create(socket, address->family, SOCK_STREAM,
                               APR_PROTO_TCP, p);
        if (!rv) {
            apr_interval_time_t left = deadline - staple_clock_now();

            apr_socket_timeout_set(*socket, left > 1 ? left : 1);
            rv = apr_socket_connect(*socket, address);
        }
        if (!rv) {
            return NULL;
        }
        apr_socket_close(*socket);
    }
    return apr_psprintf(p, "%s port %u: %s", target->host,
                        (unsigned)target->port, staple_text_error(rv, p));
}

/* Whether the socket can go on before the deadline. */
static int await(int fd, short events, apr_time_t deadline)
{
    struct pollfd pollfd = { .fd = fd, .events = events };
    apr_interval_time_t left = deadline - staple_clock_now();

    return left > 0
           && poll(&pollfd, 1, (int)apr_time_as_msec(left) + 1) > 0;
}

static const char *ssl_error_text(apr_pool_t *p)
{
    unsigned long error = ERR_peek_last_error();
    const char *text = error ? ERR_reason_error_string(error) : NULL;

    ERR_clear_error();
    return apr_pstrdup(p, text ? text : "the connection broke");
}

static const char *shake(SSL *ssl, int fd, apr_time_t deadline, apr_pool_t *p)
{
    int rc;

    while ((rc = SSL_connect(ssl)) != 1) {
        int error = SSL_get_error(ssl, rc);
        short events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;

        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            return apr_pstrcat(p, "the handshake failed: ", ssl_error_text(p),
                               NULL);
        }
        if (!await(fd, events, deadline)) {
            return "the handshake took too long";
        }
    }
    return NULL;
}

static void keep_staple(SSL *ssl, staplectl_certs_t *certs,
                        staplectl_staple_t *staple, apr_pool_t *p)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    const unsigned char *der;
    long size = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
    int i;

    if (sk_X509_num(chain) > 0) {
        staplectl_certs_add_server(certs, sk_X509_value(chain, 0));
    }
    for (i = 1; i < sk_X509_num(chain); i++) {
        staplectl_certs_add(certs, sk_X509_value(chain, i));
    }
    if (size > 0) {
        staple->der = apr_pmemdup(p, der, (apr_size_t)size);
        staple->len = (apr_size_t)size;
    }
}

/** @return whether the handshake will ask for a staple, and of whom */
static int prepare(SSL *ssl, const staplectl_target_t *target, int fd)
{
    return SSL_set_fd(ssl, fd)
           && SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp)
           && (!target->name || SSL_set_tlsext_host_name(ssl, target->name));
}

static const char *talk(const staplectl_target_t *target, int fd,
                        apr_time_t deadline, staplectl_certs_t *certs,
                        staplectl_staple_t *staple, apr_pool_t *p)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;
    const char *wrong = ssl && prepare(ssl, target, fd)
                        ? shake(ssl, fd, deadline, p) : ssl_error_text(p);

    if (!wrong) {
        keep_staple(ssl, certs, staple, p);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return wrong;
}

/* A server that has reset the connection ends no program that writes to it. */
static const char *talk_unharmed(const staplectl_target_t *target, int fd,
                                 apr_time_t deadline, staplectl_certs_t *certs,
                                 staplectl_staple_t *staple, apr_pool_t *p)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    const char *wrong = talk(target, fd, deadline, certs, staple, p);

    signal(SIGPIPE, before);
    return wrong;
}

const char *staplectl_tls_ask(const staplectl_target_t *target,
                              staplectl_certs_t *certs,
                              staplectl_staple_t *staple, apr_pool_t *p)
{
    apr_time_t deadline = staple_clock_now() + target->timeout;
    apr_socket_t *socket = NULL;
    apr_os_sock_t fd = -1;
    const char *wrong = reach(target, deadline, &socket, p);

    memset(staple, 0, sizeof(*staple));
    if (wrong) {
        return wrong;
    }
    wrong = apr_os_sock_get(&fd, socket)
            ? "the connection has no descriptor"
            : talk_unharmed(target, fd, deadline, certs, staple, p);
    apr_socket_close(socket);
    return wrong;
}
