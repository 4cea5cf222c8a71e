/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Visitors of a TLS server that look at its staples: so many handshakes a
 * second, one after the other over the names given, TLS 1.2 and 1.3 in turn,
 * each with a connection of its own.
 *
 * The one idea: a visitor believes nothing. It verifies the chain, and the
 * staple as a strict client would: parsed to its last byte, signed by the
 * issuer or its delegate, about this very certificate, and current. What it
 * thinks of it is one line on standard output, its fields parted by tabs:
 *
 *   seconds  port  name  serial  milliseconds  verdict
 *
 * The verdict is one of staple.h, none (no staple) or "failed: ..." (no
 * handshake). `end` is the last line. It ends on SIGTERM, after --count
 * handshakes, and with --tied when its standard input ends.
 *
 *   visitors --ca root.pem --port 41235 [--port ...] [--rate 50]
 *            [--workers 4] [--count 0] [--tied] NAME...
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "staple.h"

#define PORTS_MAX   64
#define WORKERS_MAX 64
#define PATIENCE    10 /* seconds for each step of a handshake */

static struct {
    SSL_CTX *ctx;
    X509_STORE *store;
    int ports[PORTS_MAX];
    unsigned ports_count;
    char **names;
    unsigned names_count;
    unsigned workers;
    long rate;
    unsigned long count; /* 0: until it is told to end */
    int is_tied;
} setup = { .workers = 4, .rate = 50 };

static volatile sig_atomic_t is_told_to_end;
static atomic_ulong begun;

typedef struct visit_t {
    int port;
    const char *name;
    char serial[128];
    char verdict[VERDICT_LEN];
} visit_t;

static void die(const char *what)
{
    fprintf(stderr, "visitors: %s\n", what);
    exit(2);
}

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((format(printf, 2, 3)))
static void say(visit_t *visit, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(visit->verdict, sizeof(visit->verdict), fmt, ap);
    va_end(ap);
}

/* ----- the staple ----- */

static void note_serial(visit_t *visit, X509 *leaf)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get_serialNumber(leaf), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;

    snprintf(visit->serial, sizeof(visit->serial), "%s", hex ? hex : "-");
    OPENSSL_free(hex);
    BN_free(n);
}

/* ----- a handshake ----- */

static int reach(int port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port) };
    struct timeval patience = { .tv_sec = PATIENCE };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void say_failed(visit_t *visit, SSL *ssl, int result)
{
    int saved = errno;
    int error = SSL_get_error(ssl, result);
    unsigned long code = ERR_get_error();

    if (error == SSL_ERROR_SSL && code) {
        const char *reason = ERR_reason_error_string(code);

        say(visit, "failed: TLS, %s", reason ? reason : "no reason");
    }
    else {
        say(visit, "failed: TLS, error %d, %s", error,
            saved ? strerror(saved) : "closed");
    }
}

static void look(visit_t *visit, SSL *ssl)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    const unsigned char *der = NULL;
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &der);

    note_serial(visit, sk_X509_value(chain, 0));
    if (!der || len <= 0) {
        say(visit, "none");
    }
    else {
        staple_judge(der, len, chain, setup.store, visit->verdict);
    }
}

/* The server's last word is waited for: it would log a reset. */
static void say_goodbye(SSL *ssl)
{
    char rest[256];

    SSL_shutdown(ssl);
    while (SSL_read(ssl, rest, sizeof(rest)) > 0) {
        continue;
    }
}

static void shake(visit_t *visit, int fd, int tls)
{
    SSL *ssl = SSL_new(setup.ctx);
    int result;

    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, visit->name);
    X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), visit->name, 0);
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    SSL_set_max_proto_version(ssl, tls);
    errno = 0;
    result = SSL_connect(ssl);
    if (result == 1) {
        look(visit, ssl);
        say_goodbye(ssl);
    }
    else {
        say_failed(visit, ssl, result);
    }
    SSL_free(ssl);
    ERR_clear_error();
}

static void make_visit(unsigned long number)
{
    unsigned long at = number / setup.ports_count;
    visit_t visit = {
        .port = setup.ports[number % setup.ports_count],
        .name = setup.names[at % setup.names_count],
        .serial = "-",
    };
    double began = seconds(CLOCK_REALTIME);
    int fd = reach(visit.port);

    if (fd < 0) {
        say(&visit, "failed: TCP, %s", strerror(errno));
    }
    else {
        shake(&visit, fd, (at / setup.names_count + at) % 2
                          ? TLS1_2_VERSION : TLS1_3_VERSION);
        close(fd);
    }
    printf("%.6f\t%d\t%s\t%s\t%.1f\t%s\n", began, visit.port, visit.name,
           visit.serial, (seconds(CLOCK_REALTIME) - began) * 1e3,
           visit.verdict);
    fflush(stdout);
}

/* ----- the visitors ----- */

static void pause_until(double when)
{
    double left;

    while (!is_told_to_end && (left = when - seconds(CLOCK_MONOTONIC)) > 0) {
        struct timespec t = { 0, (long)((left < 0.05 ? left : 0.05) * 1e9) };

        nanosleep(&t, NULL);
    }
}

/* Each worker keeps a part of the rate; time that was lost is not made up. */
static void *work(void *data)
{
    double interval = (double)setup.workers / (double)setup.rate;
    double next = seconds(CLOCK_MONOTONIC)
                  + interval * (double)(size_t)data / setup.workers;

    for (;;) {
        unsigned long number;
        double now;

        pause_until(next);
        if (is_told_to_end) {
            return NULL;
        }
        number = atomic_fetch_add(&begun, 1);
        if (setup.count && number >= setup.count) {
            return NULL;
        }
        make_visit(number);
        now = seconds(CLOCK_MONOTONIC);
        next = next + interval > now ? next + interval : now;
    }
}

static void on_signal(int number)
{
    (void)number;
    is_told_to_end = 1;
}

static void *watch_input(void *data)
{
    char byte;

    (void)data;
    while (read(0, &byte, 1) > 0) {
        continue;
    }
    is_told_to_end = 1;
    return NULL;
}

static void prepare(const char *ca)
{
    setup.ctx = SSL_CTX_new(TLS_client_method());
    if (!setup.ctx || SSL_CTX_load_verify_locations(setup.ctx, ca, NULL) != 1) {
        die("the CA's file cannot be read");
    }
    SSL_CTX_set_verify(setup.ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(setup.ctx, SSL_SESS_CACHE_OFF);
    setup.store = SSL_CTX_get_cert_store(setup.ctx);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
}

static int set_option(const char *key, const char *value)
{
    if (!strcmp(key, "tied")) {
        setup.is_tied = 1;
    }
    else if (!strcmp(key, "port") && setup.ports_count < PORTS_MAX) {
        setup.ports[setup.ports_count++] = atoi(value);
    }
    else if (!strcmp(key, "rate")) {
        setup.rate = atol(value);
    }
    else if (!strcmp(key, "workers")) {
        setup.workers = (unsigned)atoi(value);
    }
    else if (!strcmp(key, "count")) {
        setup.count = strtoul(value, NULL, 10);
    }
    else {
        return 0;
    }
    return 1;
}

/* Returns the CA's file. */
static const char *read_arguments(int argc, char **argv)
{
    const char *ca;
    int first = staple_options(argc, argv, "tied", set_option, &ca);

    if (first < 0) {
        die("an option is not known, or its value is missing");
    }
    setup.names = argv + first;
    setup.names_count = (unsigned)(argc - first);
    if (!ca || !setup.ports_count || !setup.names_count || setup.rate < 1
        || setup.workers < 1 || setup.workers > WORKERS_MAX) {
        die("--ca, --port and names are needed; rate and workers are above 0");
    }
    return ca;
}

int main(int argc, char **argv)
{
    pthread_t threads[WORKERS_MAX], watcher;
    size_t i;

    prepare(read_arguments(argc, argv));
    if (setup.is_tied
        && (pthread_create(&watcher, NULL, watch_input, NULL)
            || pthread_detach(watcher))) {
        die("no thread");
    }
    for (i = 0; i < setup.workers; i++) {
        if (pthread_create(&threads[i], NULL, work, (void *)i)) {
            die("no thread");
        }
    }
    for (i = 0; i < setup.workers; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("end\n");
    return 0;
}
