/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * usage: liar CHAIN.pem KEY.pem RESPONSE.der
 *
 * A TLS server that staples the bytes of a file, whatever they are; since
 * OpenSSL 3.6, libssl leaves out those that are not about the certificate.
 * Prints "port N" for the port on 127.0.0.1 that it listens on, and shakes
 * hands with one client after the other until it is ended.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

static unsigned char response[65536];
static long response_len;

static void die(const char *what)
{
    fprintf(stderr, "liar: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void read_response(const char *path)
{
    FILE *in = fopen(path, "rb");

    if (!in) {
        die("the response cannot be read");
    }
    response_len = (long)fread(response, 1, sizeof(response), in);
    fclose(in);
}

/* OpenSSL frees what it is given. */
static int on_status(SSL *ssl, void *data)
{
    unsigned char *copy = OPENSSL_memdup(response, (size_t)response_len);

    (void)data;
    return copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, response_len)
           ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *make_context(const char *chain, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, chain) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        die("the certificate cannot be used");
    }
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    return ctx;
}

static int listen_somewhere(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len)
        || listen(fd, 5)
        || getsockname(fd, (struct sockaddr *)&address, &len)) {
        die("cannot listen");
    }
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void shake_hands(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    char byte;

    if (ssl && SSL_set_fd(ssl, fd) && SSL_accept(ssl) == 1) {
        SSL_read(ssl, &byte, 1); /* until the client has seen enough */
        SSL_shutdown(ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx;
    int door, fd;

    if (argc != 4) {
        die("usage: liar CHAIN.pem KEY.pem RESPONSE.der");
    }
    read_response(argv[3]);
    ctx = make_context(argv[1], argv[2]);
    door = listen_somewhere();
    while ((fd = accept(door, NULL, NULL)) >= 0) {
        shake_hands(ctx, fd);
    }
    SSL_CTX_free(ctx);
    return 1;
}
