/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Load for a TLS server: full handshakes that ask for a staple, each a new
 * connection, with a histogram of how long they took.
 *
 *   load --ca root.pem --port 41235 [--seconds 10] [--rate 0] [--workers 8]
 *        [--count 0] [--tls 1.3] [--no-status] NAME...
 *
 * With --rate, handshake number k is due k/rate seconds after the start, and
 * its time counts from then, whether or not a worker was free: a server that
 * pauses is not spared the handshakes that it kept waiting. Without, each
 * worker begins the next one when the last has ended.
 *
 * Every staple and every chain is checked; the bytes of one that was found
 * right a moment ago are compared, not verified again, so that the client does
 * not take the processor from the server. The result is one line of JSON:
 *
 *   handshakes, good, none, wrong (bad, revoked or unknown), failed, seconds,
 *   per_second, and in microseconds p50, p90, p99, p999, max
 *
 * The first lines of what was neither good nor none go to standard error:
 * when it began (seconds since 1970), the name, what it was, and how long it
 * took.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "staple.h"

#define WORKERS_MAX 256
#define PATIENCE    10   /* seconds for each step of a handshake */
#define KNOWN_MAX   16384 /* a power of two */
#define KNOWN_FOR   5    /* seconds until a staple is verified again */
#define COMPLAINTS  1000

static struct {
    SSL_CTX *ctx;
    X509_STORE *store;
    int port;
    char **names;
    unsigned names_count, workers;
    double seconds, rate; /* rate 0: as fast as it goes */
    unsigned long count;  /* ends after so many, if not 0 */
    int tls;
    int is_status_wanted;
} setup = {
    .workers = 8, .seconds = 10, .tls = TLS1_3_VERSION, .is_status_wanted = 1
};

static atomic_ulong begun, good, none, wrong, failed, complaints;
static double started; /* by the monotonic clock */

static void die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ----- how long it took ----- */

/* A bucket for each 64th of a power of two of microseconds: the error is less
 * than 1.6 parts in a hundred. */
#define STEPS   64
#define BUCKETS (STEPS * 40)

static atomic_ulong buckets[BUCKETS];
static atomic_ulong slowest;

static unsigned bucket_of(unsigned long us)
{
    unsigned power = 0;

    while (us >> power >= 2UL * STEPS) {
        power++;
    }
    return us < STEPS ? (unsigned)us
                      : power * STEPS + (unsigned)(us >> power);
}

static unsigned long lowest_of(unsigned bucket)
{
    unsigned power = bucket < 2 * STEPS ? 0 : bucket / STEPS - 1;

    return (unsigned long)(bucket - power * STEPS) << power;
}

static void note_time(double seconds)
{
    unsigned long us = seconds > 0 ? (unsigned long)(seconds * 1e6) : 0;
    unsigned bucket = bucket_of(us);
    unsigned long before = atomic_load(&slowest);

    atomic_fetch_add(&buckets[bucket < BUCKETS ? bucket : BUCKETS - 1], 1);
    while (us > before
           && !atomic_compare_exchange_weak(&slowest, &before, us)) {
        continue;
    }
}

static unsigned long percentile(double part)
{
    unsigned long all = 0, seen = 0;
    unsigned i;

    for (i = 0; i < BUCKETS; i++) {
        all += atomic_load(&buckets[i]);
    }
    for (i = 0; i < BUCKETS; i++) {
        seen += atomic_load(&buckets[i]);
        if (all && (double)seen >= part * (double)all) {
            return lowest_of(i);
        }
    }
    return 0;
}

/* ----- what was found right a moment ago ----- */

typedef struct known_t {
    unsigned char *bytes;
    size_t len;
    double since;
    char verdict[VERDICT_LEN];
} known_t;

/* A place for each hash of the bytes; whoever comes later takes it. */
static known_t known[KNOWN_MAX];
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static known_t *place_of(const unsigned char *bytes, size_t len)
{
    unsigned hash = 2166136261U;
    size_t i;

    for (i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 16777619U;
    }
    return &known[(hash ^ hash >> 15) % KNOWN_MAX];
}

static int is_known(const unsigned char *bytes, size_t len, char *verdict)
{
    known_t *place = place_of(bytes, len);
    int is_it;

    pthread_mutex_lock(&known_lock);
    is_it = place->len == len && !memcmp(place->bytes, bytes, len)
            && now() - place->since < KNOWN_FOR;
    if (is_it) {
        memcpy(verdict, place->verdict, VERDICT_LEN);
    }
    pthread_mutex_unlock(&known_lock);
    return is_it;
}

static void remember(const unsigned char *bytes, size_t len,
                     const char *verdict)
{
    known_t *place = place_of(bytes, len);
    unsigned char *copy = malloc(len + 1);

    if (!copy) {
        die("out of memory");
    }
    memcpy(copy, bytes, len);
    pthread_mutex_lock(&known_lock);
    free(place->bytes);
    place->bytes = copy;
    place->len = len;
    place->since = now();
    snprintf(place->verdict, sizeof(place->verdict), "%s", verdict);
    pthread_mutex_unlock(&known_lock);
}

/* ----- a handshake ----- */

/* In the place of OpenSSL's: a chain whose leaf is known is not verified
 * again. Its name is not looked at, for a server's first host may answer. */
static int verify_chain(X509_STORE_CTX *ctx, void *unused)
{
    unsigned char *der = NULL;
    int len = i2d_X509(X509_STORE_CTX_get0_cert(ctx), &der);
    char verdict[VERDICT_LEN];
    int is_right;

    (void)unused;
    if (len <= 0) {
        return 0;
    }
    is_right = is_known(der, (size_t)len, verdict);
    if (!is_right && X509_verify_cert(ctx) == 1) {
        remember(der, (size_t)len, "chain");
        is_right = 1;
    }
    OPENSSL_free(der);
    return is_right;
}

static int reach(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)setup.port) };
    struct timeval patience = { .tv_sec = PATIENCE };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void complain(const char *name, double began, const char *what)
{
    double took = now() - began;
    struct timespec t;

    if (atomic_fetch_add(&complaints, 1) < COMPLAINTS) {
        clock_gettime(CLOCK_REALTIME, &t);
        fprintf(stderr, "%.3f %s: %s after %.3f s\n",
                (double)t.tv_sec + (double)t.tv_nsec / 1e9 - took, name, what,
                took);
    }
}

static void look(SSL *ssl, const char *name, double began)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    const unsigned char *der = NULL;
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
    char verdict[VERDICT_LEN];

    if (!der || len <= 0) {
        atomic_fetch_add(&none, 1);
        return;
    }
    if (!is_known(der, (size_t)len, verdict)) {
        staple_judge(der, len, chain, setup.store, verdict);
        remember(der, (size_t)len, verdict);
    }
    if (!strcmp(verdict, "good")) {
        atomic_fetch_add(&good, 1);
    }
    else {
        atomic_fetch_add(&wrong, 1);
        complain(name, began, verdict);
    }
}

/* The server's last word is waited for: it would log a reset. */
static void say_goodbye(SSL *ssl, int fd)
{
    char rest[4096];

    SSL_shutdown(ssl);
    shutdown(fd, SHUT_WR);
    while (recv(fd, rest, sizeof(rest), 0) > 0) {
        continue;
    }
}

static const char *why_failed(void)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    if (reason) {
        return reason;
    }
    return errno ? strerror(errno) : "closed";
}

static void shake(const char *name, double due)
{
    double began = now();
    int fd = reach();
    SSL *ssl = fd < 0 ? NULL : SSL_new(setup.ctx);

    if (ssl) {
        SSL_set_fd(ssl, fd);
        SSL_set_tlsext_host_name(ssl, name);
        if (setup.is_status_wanted) {
            SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
        }
    }
    if (ssl && SSL_connect(ssl) == 1) {
        note_time(now() - due);
        look(ssl, name, began);
        say_goodbye(ssl, fd);
    }
    else {
        atomic_fetch_add(&failed, 1);
        complain(name, began, why_failed());
    }
    SSL_free(ssl);
    if (fd >= 0) {
        close(fd);
    }
    ERR_clear_error();
}

/* ----- the workers ----- */

static void wait_until(double when)
{
    double left = when - now();
    struct timespec span;

    if (left > 0) {
        span.tv_sec = (time_t)left;
        span.tv_nsec = (long)((left - (double)span.tv_sec) * 1e9);
        nanosleep(&span, NULL);
    }
}

static void *work(void *unused)
{
    (void)unused;
    for (;;) {
        unsigned long number = atomic_fetch_add(&begun, 1);
        double due = setup.rate > 0
                   ? started + (double)number / setup.rate : now();

        if (due - started >= setup.seconds
            || (setup.count && number >= setup.count)) {
            return NULL;
        }
        wait_until(due);
        shake(setup.names[number % setup.names_count], due);
    }
}

static void prepare(const char *ca)
{
    setup.ctx = SSL_CTX_new(TLS_client_method());
    if (!setup.ctx || SSL_CTX_load_verify_locations(setup.ctx, ca, NULL) != 1) {
        die("the CA's file cannot be read");
    }
    SSL_CTX_set_verify(setup.ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(setup.ctx, verify_chain, NULL);
    SSL_CTX_set_session_cache_mode(setup.ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_min_proto_version(setup.ctx, setup.tls);
    SSL_CTX_set_max_proto_version(setup.ctx, setup.tls);
    setup.store = SSL_CTX_get_cert_store(setup.ctx);
    signal(SIGPIPE, SIG_IGN);
}

static int set_option(const char *key, const char *value)
{
    if (!strcmp(key, "no-status")) {
        setup.is_status_wanted = 0;
    }
    else if (!strcmp(key, "port")) {
        setup.port = atoi(value);
    }
    else if (!strcmp(key, "seconds")) {
        setup.seconds = atof(value);
    }
    else if (!strcmp(key, "rate")) {
        setup.rate = atof(value);
    }
    else if (!strcmp(key, "count")) {
        setup.count = strtoul(value, NULL, 10);
    }
    else if (!strcmp(key, "workers")) {
        setup.workers = (unsigned)atoi(value);
    }
    else if (!strcmp(key, "tls")) {
        setup.tls = strcmp(value, "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
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
    int first = staple_options(argc, argv, "no-status", set_option, &ca);

    if (first < 0) {
        die("an option is not known, or its value is missing");
    }
    setup.names = argv + first;
    setup.names_count = (unsigned)(argc - first);
    if (!ca || !setup.port || !setup.names_count || setup.workers < 1
        || setup.workers > WORKERS_MAX) {
        die("--ca, --port and names are needed; workers are 1 to 256");
    }
    return ca;
}

static void print_result(double took)
{
    unsigned long all = good + none + wrong;

    printf("{\"handshakes\":%lu,\"good\":%lu,\"none\":%lu,\"wrong\":%lu,"
           "\"failed\":%lu,\"seconds\":%.3f,\"per_second\":%.1f,"
           "\"p50\":%lu,\"p90\":%lu,\"p99\":%lu,\"p999\":%lu,\"max\":%lu}\n",
           all, (unsigned long)good, (unsigned long)none, (unsigned long)wrong,
           (unsigned long)failed, took, (double)all / took, percentile(0.5),
           percentile(0.9), percentile(0.99), percentile(0.999),
           (unsigned long)slowest);
}

int main(int argc, char **argv)
{
    pthread_t threads[WORKERS_MAX];
    unsigned i;

    prepare(read_arguments(argc, argv));
    started = now();
    for (i = 0; i < setup.workers; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL)) {
            die("no thread");
        }
    }
    for (i = 0; i < setup.workers; i++) {
        pthread_join(threads[i], NULL);
    }
    print_result(now() - started);
    return 0;
}
