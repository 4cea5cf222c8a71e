/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves the fetch engine against servers that do as they are told: every
 * outcome has its reason, nobody waits for a neighbour, and nothing is left
 * behind. The servers are threads on loopback ports from the kernel; names
 * that end in ".test" are resolved here.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif

#include <stddef.h>

#include "staple_fetch.h"
#include "staple_deny.h"
#include "tap.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_strings.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#define SECOND apr_time_from_sec(1)
#define MSEC(n) apr_time_from_msec(n)

/* ---- servers ---- */

typedef enum {
    ANSWER,   /* with status, fields and body */
    SILENT,   /* read, and say nothing */
    RESET,    /* read, and reset the connection */
    HANGUP,   /* read, and close it without an answer */
    GARBAGE,  /* another protocol */
    SHORT,    /* announce more than is sent */
    DRIP,     /* one byte every 20 ms, for ever */
    HUGE,     /* announce and send 100 KiB */
    STALE,    /* answer one request of a connection, close at the second */
    EARLY     /* answer, then close without having said so */
} manner_e;

typedef struct server_t {
    /* what it is told */
    manner_e manner;
    int status;              /* of an answer; 0: 200 */
    int get_status;          /* of an answer to GET; 0: as status */
    const char *fields;      /* header lines */
    const char *body;        /* NULL: "good" */
    const char *get_body;    /* to GET; NULL: as body */
    int delay_ms;
    const char *bad_path;    /* a request with this in its target is served in
                                the manner, all others are answered */
    /* what it has seen; the lock covers all */
    pthread_mutex_t lock;
    int connections, requests, gets, open, at_work, most_at_work, most_open;
    char last[4096];         /* the last request */
    /* what it is */
    int fd;
    int port;
    int is_closing;
    int threads;
} server_t;

typedef struct visit_t {
    server_t *server;
    int fd;
} visit_t;

static void send_text(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

        if (sent <= 0) {
            return;
        }
        text += sent;
        len -= (size_t)sent;
    }
}

/* One request into buffer; 0 when the peer has gone. */
static int read_request(int fd, char *buffer, size_t size)
{
    size_t len = 0;

    while (len < size - 1) {
        ssize_t got = recv(fd, buffer + len, size - 1 - len, 0);
        char *end, *length;

        if (got <= 0) {
            return 0;
        }
        len += (size_t)got;
        buffer[len] = '\0';
        end = strstr(buffer, "\r\n\r\n");
        if (!end) {
            continue;
        }
        length = strstr(buffer, "Content-Length: ");
        if (!length || (size_t)(end + 4 - buffer)
                       + strtoul(length + 16, NULL, 10) <= len) {
            return 1;
        }
    }
    return 0;
}

static void answer(const server_t *server, int fd, int is_get)
{
    const char *body = is_get && server->get_body ? server->get_body
                     : server->body ? server->body : "good";
    int status = is_get && server->get_status ? server->get_status
               : server->status ? server->status : 200;
    char text[2048];
    int len;

    len = snprintf(text, sizeof(text), "HTTP/1.1 %d Status\r\n"
                   "Content-Length: %zu\r\n%s\r\n%s", status,
                   status == 304 ? (size_t)0 : strlen(body),
                   server->fields ? server->fields : "",
                   status == 304 ? "" : body);
    send_text(fd, text, (size_t)len);
}

static void wait_for_close(int fd)
{
    char byte[64];

    while (recv(fd, byte, sizeof(byte), 0) > 0) {
    }
}

static void drip(int fd)
{
    int i;

    send_text(fd, "HTTP/1.1 200 OK\r\nX-Drip: ", 25);
    for (i = 0; i < 500; i++) {
        if (send(fd, "x", 1, MSG_NOSIGNAL) <= 0) {
            return;
        }
        usleep(20000);
    }
}

static void send_huge(int fd)
{
    static char much[102400];

    send_text(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
    memset(much, 'x', sizeof(much));
    send_text(fd, much, sizeof(much));
}

/* Whether the connection goes on. */
static int serve_one(server_t *server, int fd, const char *request, int count)
{
    struct linger hard = { 1, 0 };
    int is_get = !strncmp(request, "GET", 3);
    manner_e manner = server->manner;

    if (server->bad_path
        && !memmem(request, strcspn(request, "\r"), server->bad_path,
                   strlen(server->bad_path))) {
        manner = ANSWER;
    }
    if (server->delay_ms) {
        usleep((useconds_t)server->delay_ms * 1000);
    }
    switch (manner) {
    case ANSWER:
        answer(server, fd, is_get);
        return !server->fields || !strstr(server->fields, "close");
    case SILENT:
        wait_for_close(fd);
        return 0;
    case RESET:
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        return 0;
    case HANGUP:
        return 0;
    case GARBAGE:
        send_text(fd, "SSH-2.0-OpenSSH_9.9\r\n", 21);
        wait_for_close(fd);
        return 0;
    case SHORT:
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood", 42);
        return 0;
    case DRIP:
        drip(fd);
        return 0;
    case HUGE:
        send_huge(fd);
        return 0;
    case STALE:
        if (count > 1) {
            return 0;
        }
        answer(server, fd, is_get);
        return 1;
    case EARLY:
        answer(server, fd, is_get);
        return 0;
    }
    return 0;
}

static void *serve(void *data)
{
    visit_t *visit = data;
    server_t *server = visit->server;
    char request[4096];
    int count = 0;
    int goes_on = 1;

    while (goes_on && read_request(visit->fd, request, sizeof(request))) {
        pthread_mutex_lock(&server->lock);
        server->requests++;
        server->gets += !strncmp(request, "GET", 3);
        if (++server->at_work > server->most_at_work) {
            server->most_at_work = server->at_work;
        }
        memcpy(server->last, request, sizeof(request));
        pthread_mutex_unlock(&server->lock);
        goes_on = serve_one(server, visit->fd, request, ++count);
        pthread_mutex_lock(&server->lock);
        server->at_work--;
        pthread_mutex_unlock(&server->lock);
    }
    close(visit->fd);
    free(visit);
    pthread_mutex_lock(&server->lock);
    server->open--;
    server->threads--;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void spawn(void *(*run)(void *), void *data)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    if (pthread_create(&thread, &attr, run, data)) {
        perror("pthread_create");
        exit(1);
    }
    pthread_attr_destroy(&attr);
}

static void *accept_all(void *data)
{
    server_t *server = data;
    int fd;

    while ((fd = accept(server->fd, NULL, NULL)) >= 0 || errno == EMFILE) {
        visit_t *visit;
        int on = 1;

        if (fd < 0) {
            usleep(1000); /* test_descriptors() takes them all */
            continue;
        }
        visit = malloc(sizeof(*visit));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        visit->server = server;
        visit->fd = fd;
        pthread_mutex_lock(&server->lock);
        server->connections++;
        server->threads++;
        if (++server->open > server->most_open) {
            server->most_open = server->open;
        }
        pthread_mutex_unlock(&server->lock);
        spawn(serve, visit);
    }
    pthread_mutex_lock(&server->lock);
    server->threads--;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* A listening socket at an address and port (0: any); -1: not to be had. */
static int listen_at(const char *ip, int port, int backlog)
{
    struct sockaddr_in in4 = { 0 };
    struct sockaddr_in6 in6 = { 0 };
    int is_ipv6 = strchr(ip, ':') != NULL;
    int on = 1;
    int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

    in4.sin_family = AF_INET;
    in6.sin6_family = AF_INET6;
    in4.sin_port = in6.sin6_port = htons((unsigned short)port);
    inet_pton(AF_INET, ip, &in4.sin_addr);
    inet_pton(AF_INET6, ip, &in6.sin6_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, is_ipv6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4,
             is_ipv6 ? sizeof(in6) : sizeof(in4))
        || listen(fd, backlog)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in6 address;
    socklen_t len = sizeof(address);

    getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.sin6_port); /* at the same place for both families */
}

static int start_at(server_t *server, const char *ip, int port)
{
    server->fd = listen_at(ip, port, 512);
    if (server->fd < 0) {
        return 0;
    }
    server->port = port_of(server->fd);
    pthread_mutex_init(&server->lock, NULL);
    server->threads = 1;
    spawn(accept_all, server);
    return 1;
}

static void start(server_t *server)
{
    if (!start_at(server, "127.0.0.1", 0)) {
        perror("listen");
        exit(1);
    }
}

/* Until no thread uses the server, which lies on a test's stack. */
static void stop(server_t *server)
{
    int i, left = 1;

    shutdown(server->fd, SHUT_RDWR);
    for (i = 0; left && i < 1500; i++) {
        pthread_mutex_lock(&server->lock);
        left = server->threads;
        pthread_mutex_unlock(&server->lock);
        if (left) {
            usleep(10000);
        }
    }
    if (left) {
        printf("Bail out! a server does not end\n");
        exit(1);
    }
    close(server->fd);
}

/* An address where connecting takes for ever: its backlog is full. */
typedef struct hole_t {
    int fd;
    int port;
    int fillers[8];
} hole_t;

static int dig(hole_t *hole, const char *ip, int port)
{
    struct sockaddr_in6 address;
    socklen_t len = sizeof(address);
    int i;

    hole->fd = listen_at(ip, port, 0);
    if (hole->fd < 0) {
        return 0;
    }
    hole->port = port_of(hole->fd);
    getsockname(hole->fd, (struct sockaddr *)&address, &len);
    for (i = 0; i < 8; i++) {
        hole->fillers[i] = socket(address.sin6_family,
                                  SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(hole->fillers[i], (struct sockaddr *)&address, len);
    }
    return 1;
}

static void fill(hole_t *hole)
{
    int i;

    for (i = 0; i < 8; i++) {
        close(hole->fillers[i]);
    }
    close(hole->fd);
}

/* ---- names ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    int is_free;        /* whether stuck.test may come back */
    int stuck;          /* threads that wait in it */
    int lookups;
} names = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0 };

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *,
                           struct addrinfo **);

static int real_lookup(const char *ip, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    getaddrinfo_fn *real;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(ip, NULL, hints, list);
}

static int two_addresses(const char *first, const char *second,
                         const struct addrinfo *hints, struct addrinfo **list)
{
    struct addrinfo *last;

    if (real_lookup(first, hints, list)) {
        return EAI_FAIL;
    }
    for (last = *list; last->ai_next; last = last->ai_next) {
    }
    return real_lookup(second, hints, &last->ai_next);
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    getaddrinfo_fn *real;

    if (!host || !strstr(host, ".test")) {
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(host, service, hints, list);
    }
    pthread_mutex_lock(&names.lock);
    names.lookups++;
    if (!strcmp(host, "stuck.test")) {
        names.stuck++;
        while (!names.is_free) {
            pthread_cond_wait(&names.freed, &names.lock);
        }
        names.stuck--;
    }
    pthread_mutex_unlock(&names.lock);
    if (!strcmp(host, "none.test") || !strcmp(host, "stuck.test")) {
        return EAI_NONAME;
    }
    if (!strcmp(host, "eyes.test")) {
        return two_addresses("127.0.0.2", "127.0.0.1", hints, list);
    }
    if (!strcmp(host, "eyes6.test")) {
        return two_addresses("::1", "127.0.0.1", hints, list);
    }
    if (!strcmp(host, "mapped.test")) {
        return real_lookup("::ffff:127.0.0.1", hints, list);
    }
    return real_lookup("127.0.0.1", hints, list);
}

/* ---- the caller ---- */

static apr_pool_t *pool;

typedef struct result_t {
    int calls;
    staple_fetch_outcome_e outcome;
    int http_status, url_index, is_asked, is_typed;
    apr_interval_time_t retry_after, fresh_for, took;
    apr_interval_time_t resolve_took, connect_took, wait_took;
    char peer[64], reason[300], body[16], etag[32];
    apr_time_t at;
    /* what to do from done() */
    staple_fetch_t *fetch;
    const staple_fetch_job_t *next;
} result_t;

static int accept_good(void *baton, const staple_fetch_answer_t *answer)
{
    (void)baton;
    return answer->body_len == 4 && !memcmp(answer->body, "good", 4);
}

static void note(void *baton, const staple_fetch_answer_t *answer)
{
    result_t *result = baton;

    result->calls++;
    result->at = apr_time_now();
    result->outcome = answer->outcome;
    result->http_status = answer->http_status;
    result->url_index = answer->url_index;
    result->is_asked = answer->is_asked;
    result->is_typed = answer->is_typed;
    result->retry_after = answer->retry_after;
    result->fresh_for = answer->fresh_for;
    result->took = answer->took;
    result->resolve_took = answer->resolve_took;
    result->connect_took = answer->connect_took;
    result->wait_took = answer->wait_took;
    apr_cpystrn(result->peer, answer->peer, sizeof(result->peer));
    apr_cpystrn(result->reason, answer->reason, sizeof(result->reason));
    apr_cpystrn(result->etag, answer->etag ? answer->etag : "",
                sizeof(result->etag));
    if (answer->body) {
        apr_size_t len = answer->body_len < 15 ? answer->body_len : 15;

        memcpy(result->body, answer->body, len);
        result->body[len] = '\0';
    }
    if (result->next) {
        const staple_fetch_job_t *next = result->next;

        result->next = NULL;
        staple_fetch_submit(result->fetch, next);
    }
}

static staple_fetch_t *engine(int concurrency,
                              int (*is_allowed)(void *, const char *,
                                                apr_uint16_t))
{
    staple_fetch_conf_t conf = { 0 };
    staple_fetch_t *fetch;

    conf.concurrency = concurrency;
    conf.max_body = 65536;
    conf.user_agent = "test/1";
    conf.is_allowed = is_allowed;
    if (staple_fetch_create(&fetch, &conf, pool) != APR_SUCCESS) {
        printf("Bail out! no engine\n");
        exit(1);
    }
    return fetch;
}

static staple_fetch_job_t job_for(const char *const *urls, int count,
                                  result_t *result)
{
    static const unsigned char der[] = { 0x30, 0x03, 0x0a, 0xff, 0xfe };
    staple_fetch_job_t job = { 0 };

    job.urls = urls;
    job.urls_count = count;
    job.request = der;
    job.request_len = sizeof(der);
    job.timeout = 5 * SECOND;
    job.judge = accept_good;
    job.done = note;
    job.baton = result;
    return job;
}

static const char *url_of(int port, const char *path)
{
    return apr_psprintf(pool, "http://127.0.0.1:%d%s", port, path);
}

static void submit(staple_fetch_t *fetch, const char *url, result_t *result,
                   apr_interval_time_t timeout)
{
    staple_fetch_job_t job = job_for(&url, 1, result);

    job.timeout = timeout;
    staple_fetch_submit(fetch, &job);
}

/* As long as it is needed; every test ends, whatever is broken. */
static void run(staple_fetch_t *fetch)
{
    int i;

    for (i = 0; i < 150 && staple_fetch_run(fetch, MSEC(200)); i++) {
    }
}

/* A job alone, on an engine of its own. */
static result_t fetch_once(const staple_fetch_job_t *job)
{
    staple_fetch_t *fetch = engine(4, NULL);
    staple_fetch_job_t mine = *job;
    static result_t result;
    static const result_t none;

    result = none;
    mine.baton = &result;
    staple_fetch_submit(fetch, &mine);
    run(fetch);
    staple_fetch_destroy(fetch);
    return result;
}

static result_t fetch_url(const char *url, apr_interval_time_t timeout)
{
    staple_fetch_job_t job = job_for(&url, 1, NULL);

    job.timeout = timeout;
    return fetch_once(&job);
}

/* ---- the tests ---- */

/* Each way to fail has its outcome, and a reason that tells where to look. */
static void test_outcomes(void)
{
    static const struct {
        server_t server;
        staple_fetch_outcome_e outcome;
        const char *reason; /* a part of it */
        apr_interval_time_t timeout;
        const char *what;
    } cases[] = {
        { { .manner = ANSWER }, STAPLE_FETCH_OK, "answered", 0, "an answer" },
        { { .fields = "Connection: close\r\n" }, STAPLE_FETCH_OK, "", 0,
          "an answer of a server that closes" },
        { { .delay_ms = 50 }, STAPLE_FETCH_OK, "", 0, "a slow answer" },
        { { .manner = SILENT }, STAPLE_FETCH_TIMEOUT,
          "(0 bytes came)", MSEC(200), "silence" },
        { { .manner = DRIP }, STAPLE_FETCH_TIMEOUT, "no whole answer",
          MSEC(300), "dripping" },
        { { .manner = RESET }, STAPLE_FETCH_RESET, "broke", 0, "a reset" },
        { { .manner = HANGUP }, STAPLE_FETCH_RESET, "without an answer", 0,
          "a close without an answer" },
        { { .manner = GARBAGE }, STAPLE_FETCH_NOT_HTTP, "is not HTTP", 0,
          "another protocol" },
        { { .fields = "X: a\r\n b\r\n" }, STAPLE_FETCH_NOT_HTTP, "folded", 0,
          "a folded header" },
        { { .manner = SHORT }, STAPLE_FETCH_TRUNCATED, "shorter", 0,
          "a body that is cut short" },
        { { .manner = HUGE }, STAPLE_FETCH_TOO_LARGE, "too large", 0,
          "a body that is too large" },
        { { .status = 500 }, STAPLE_FETCH_HTTP_STATUS, "status 500", 0,
          "HTTP 500" },
        { { .status = 404 }, STAPLE_FETCH_HTTP_STATUS, "404 to POST", 0,
          "HTTP 404 to both methods" },
        { { .status = 304 }, STAPLE_FETCH_HTTP_STATUS, "304", 0,
          "HTTP 304 that nobody asked for" },
        { { .status = 302 }, STAPLE_FETCH_HTTP_STATUS, "302", 0,
          "a redirect to nowhere" },
        { { .status = 302, .fields = "Location: https://127.0.0.1/\r\n" },
          STAPLE_FETCH_BAD_REDIRECT, "does not begin with http://", 0,
          "a redirect to https" },
        { { .status = 302, .fields = "Location: /again\r\n" },
          STAPLE_FETCH_BAD_REDIRECT, "more than 3 times", 0,
          "a redirect in a circle" },
        { { .body = "bad" }, STAPLE_FETCH_REJECTED, "not accepted", 0,
          "an answer that is not accepted" },
        { { .status = 405, .get_status = 200, .get_body = "bad" },
          STAPLE_FETCH_REJECTED, "not accepted", 0,
          "an answer to GET that is not accepted, none to POST" },
        { { .manner = EARLY }, STAPLE_FETCH_OK, "", 0,
          "an answer, closed behind it" }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server_t server = cases[i].server;
        result_t result;

        start(&server);
        result = fetch_url(url_of(server.port, "/"),
                           cases[i].timeout ? cases[i].timeout : 5 * SECOND);
        ok(result.calls == 1 && result.outcome == cases[i].outcome,
           "%s: %s", cases[i].what,
           staple_fetch_outcome_text(cases[i].outcome));
        if (result.outcome != cases[i].outcome
            || !ok(strstr(result.reason, cases[i].reason) != NULL,
                   "... for the right reason")) {
            diag("%d calls, %s: %s", result.calls,
                 staple_fetch_outcome_text(result.outcome), result.reason);
        }
        if (cases[i].timeout) {
            ok(result.took >= cases[i].timeout - MSEC(5)
               && result.took < cases[i].timeout + MSEC(150),
               "... at its deadline");
        }
        stop(&server);
    }
}

static void test_unreachable(void)
{
    hole_t hole;
    result_t result;
    int fd = listen_at("127.0.0.1", 0, 1);
    int port = port_of(fd);

    close(fd);
    result = fetch_url(url_of(port, "/"), 5 * SECOND);
    is_int(result.outcome, STAPLE_FETCH_REFUSED, "nobody listens: refused");
    is_str(result.peer, apr_psprintf(pool, "127.0.0.1:%d", port),
           "... and the address is told");

    dig(&hole, "127.0.0.1", 0);
    result = fetch_url(url_of(hole.port, "/"), MSEC(300));
    is_int(result.outcome, STAPLE_FETCH_CONNECT_TIMEOUT,
           "no connection in time");
    is_str(result.reason, apr_psprintf(pool, "connection timed out: is "
           "outbound traffic to 127.0.0.1:%d allowed?", hole.port),
           "... with the hint at the firewall");
    fill(&hole);

    result = fetch_url("http://255.255.255.255/", SECOND);
    is_int(result.outcome, STAPLE_FETCH_UNREACHABLE, "no route");

    result = fetch_url("http://none.test/", 5 * SECOND);
    is_int(result.outcome, STAPLE_FETCH_NO_NAME, "no such name");
    ok(strstr(result.reason, "none.test could not be resolved") != NULL,
       "... and it is told");

    result = fetch_url("https://127.0.0.1/", SECOND);
    is_int(result.outcome, STAPLE_FETCH_BAD_URL, "https is not asked");
    is_str(result.reason, "the URL does not begin with http://", "... why");
}

static int deny_loopback(void *baton, const char *address, apr_uint16_t port)
{
    (void)baton;
    (void)port;
    return strcmp(address, "127.0.0.1") != 0;
}

static void test_denied(void)
{
    static const char *const forms[] = {
        "http://127.0.0.1:%d/", "http://some.test:%d/",
        "http://[::ffff:127.0.0.1]:%d/", "http://mapped.test:%d/"
    };
    server_t server = { .manner = ANSWER };
    server_t proxy = { .manner = ANSWER };
    apr_size_t i;

    start(&server);
    start(&proxy);
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        staple_fetch_t *fetch = engine(4, deny_loopback);
        result_t result = { 0 };

        submit(fetch, apr_psprintf(pool, forms[i], server.port), &result,
               SECOND);
        run(fetch);
        is_int(result.outcome, STAPLE_FETCH_DENIED,
               apr_psprintf(pool, "denied: %s", forms[i]));
        staple_fetch_destroy(fetch);
    }
    is_int(server.connections, 0, "nobody was asked");
    {
        const char *url = url_of(server.port, "/");
        staple_fetch_t *fetch = engine(4, deny_loopback);
        result_t result = { 0 }, named = { 0 };
        staple_fetch_job_t job = job_for(&url, 1, &result);

        job.proxy = apr_psprintf(pool, "http://127.0.0.1:%d", proxy.port);
        staple_fetch_submit(fetch, &job);
        url = "http://some.test/";
        job = job_for(&url, 1, &named);
        job.proxy = apr_psprintf(pool, "http://127.0.0.1:%d", proxy.port);
        staple_fetch_submit(fetch, &job);
        run(fetch);
        is_int(result.outcome, STAPLE_FETCH_DENIED,
               "an address is denied behind a proxy too");
        is_int(named.outcome, STAPLE_FETCH_OK, "the proxy itself is not");
        staple_fetch_destroy(fetch);
    }
    stop(&server);
    stop(&proxy);
}

/* What a word of StapleDenyResponder keeps out, and what it does not. */
static void test_deny_words(void)
{
    static const struct {
        const char *words, *denied, *allowed;
    } rows[] = {
        { "", "", "127.0.0.1 ::1 10.1.2.3 192.0.2.1 2001:db8::1" },
        { "loopback",
          "127.0.0.1 127.255.255.255 0.0.0.0 0.1.2.3 ::1 :: ::ffff:127.0.0.1"
          " ::ffff:7f00:1 64:ff9b::127.0.0.1",
          "128.0.0.0 126.255.255.255 1.0.0.0 ::2 1::1 ::ffff:128.0.0.1"
          " 64:ff9b::10.0.0.1 10.0.0.1" },
        { "private",
          "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.1"
          " 100.64.0.0 100.127.255.255 fc00:: fdff::1 fec0::1"
          " ::ffff:10.0.0.1 64:ff9b::a00:1",
          "9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255"
          " 192.169.0.0 100.63.255.255 100.128.0.0 fe00::1 fbff::1 127.0.0.1"
          " 64:ff9b::192.0.2.1" },
        { "link-local", "169.254.0.0 169.254.255.255 fe80::1 febf::1",
          "169.253.255.255 169.255.0.0 fec0::1 fe7f::1" },
        { "LOOPBACK Private",
          "127.0.0.1 10.0.0.1", "169.254.1.1 192.0.2.1" },
        { "192.0.2.7", "192.0.2.7 ::ffff:192.0.2.7",
          "192.0.2.6 192.0.2.8 ::192.0.2.7" },
        { "2001:db8::7", "2001:db8::7", "2001:db8::8 192.0.2.7" },
        { "192.0.2.0/25", "192.0.2.0 192.0.2.127", "192.0.2.128 192.0.1.255" },
        { "192.0.2.4/31", "192.0.2.4 192.0.2.5", "192.0.2.3 192.0.2.6" },
        { "192.0.2.4/32", "192.0.2.4", "192.0.2.5" },
        { "0.0.0.0/0", "0.0.0.0 192.0.2.1 255.255.255.255 ::ffff:192.0.2.1"
          " 64:ff9b::192.0.2.1", "::1 2001:db8::1" },
        { "::/0", "192.0.2.1 ::1 2001:db8::1", "" },
        { "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
        { "64:ff9b::/96", "64:ff9b::192.0.2.1", "192.0.2.1 64:ff9b:1::1" },
        { "", "localhost 127.1 1 0x7f000001 127.0.0.1:80 [::1] fe80::1%eth0",
          "192.0.2.1" } /* what is no address is denied by any list */
    };
    static const char *const wrong[] = {
        "", "none", "localhost", "loopback/8", "10.0.0.0/", "10.0.0.0/33",
        "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/8x", "10.0.0.0/0008",
        "10.0.0.1/8", "10/8", "10.0.0.0/255.0.0.0", "2001:db8::/129",
        "2001:db8::1/64", "[2001:db8::]/64", "/8", "0.0.0.1/0", "::1/0"
    };
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_fetch_deny_t *deny = staple_fetch_deny_make(pool);
        char *words = apr_pstrdup(pool, rows[i].words), *last;
        const char *bad = "";
        int which;

        for (words = apr_strtok(words, " ", &last); words;
             words = apr_strtok(NULL, " ", &last)) {
            if (staple_fetch_deny_add(deny, words, pool)) {
                bad = apr_pstrcat(pool, bad, " refused:", words, NULL);
            }
        }
        for (which = 0; which < 2; which++) {
            char *text = apr_pstrdup(pool, which ? rows[i].denied
                                                 : rows[i].allowed);

            for (text = apr_strtok(text, " ", &last); text;
                 text = apr_strtok(NULL, " ", &last)) {
                if (staple_fetch_deny_matches(deny, text) != which) {
                    bad = apr_pstrcat(pool, bad, " ", text, NULL);
                }
            }
        }
        is_str(bad, "", apr_psprintf(pool, "StapleDenyResponder %s",
                                     rows[i].words));
    }
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        staple_fetch_deny_t *deny = staple_fetch_deny_make(pool);

        ok(staple_fetch_deny_add(deny, wrong[i], pool)
           && !staple_fetch_deny_matches(deny, "10.0.0.1"),
           "not accepted, and nothing added: '%s'", wrong[i]);
    }
    ok(staple_fetch_deny_allows(NULL, "127.0.0.1", 80),
       "without a list everything is allowed");
}

/* Where an exchange spent its time, as far as it came. */
static void test_phases(void)
{
    server_t slow = { .manner = ANSWER, .delay_ms = 60 };
    server_t silent = { .manner = SILENT };
    result_t got;
    hole_t hole;

    start(&slow);
    start(&silent);
    got = fetch_url(apr_psprintf(pool, "http://some.test:%d/", slow.port),
                    5 * SECOND);
    ok(got.resolve_took >= 0 && got.connect_took >= 0
       && got.wait_took >= MSEC(50), "an answer: all phases have a time");
    ok(got.resolve_took + got.connect_took + got.wait_took <= got.took,
       "... which are part of the whole");
    got = fetch_url(url_of(silent.port, "/"), MSEC(100));
    ok(got.resolve_took >= 0 && got.connect_took >= 0 && got.wait_took == -1,
       "no answer: it never ended to wait");
    got = fetch_url("http://none.test/", SECOND);
    ok(got.resolve_took == -1 && got.connect_took == -1
       && got.wait_took == -1, "no name: none was reached");
    if (dig(&hole, "127.0.0.1", 0)) {
        got = fetch_url(url_of(hole.port, "/"), MSEC(100));
        ok(got.resolve_took >= 0 && got.connect_took == -1
           && got.wait_took == -1, "no connection: resolved, not connected");
        fill(&hole);
    }
    stop(&slow);
    stop(&silent);
}

static int deny_second(void *baton, const char *address, apr_uint16_t port)
{
    (void)address;
    return port != *(int *)baton;
}

static void test_denied_redirect(void)
{
    server_t target = { .manner = ANSWER };
    server_t server = { .status = 302 };
    staple_fetch_conf_t conf = { 0 };
    staple_fetch_t *fetch;
    result_t result = { 0 };

    start(&target);
    server.fields = apr_psprintf(pool, "Location: http://127.0.0.1:%d/x\r\n",
                                 target.port);
    start(&server);
    conf.concurrency = 2;
    conf.max_body = 1000;
    conf.is_allowed = deny_second;
    conf.is_allowed_baton = &target.port;
    staple_fetch_create(&fetch, &conf, pool);
    submit(fetch, url_of(server.port, "/"), &result, SECOND);
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_DENIED, "denied after a redirect");
    is_int(target.connections, 0, "... and not asked");
    staple_fetch_destroy(fetch);
    stop(&server);
    stop(&target);
}

/* The bytes that a server gets. */
static void test_requests(void)
{
    server_t server = { .manner = ANSWER };
    char *url, *long_url;
    const char *urls[1];
    staple_fetch_job_t job;
    result_t result;

    start(&server);
    fetch_url(apr_psprintf(pool, "http://user:secret@127.0.0.1:%d/ca?q=1",
                           server.port), SECOND);
    is_str(server.last, apr_psprintf(pool,
           "GET /ca/MAMK%%2F%%2F4%%3D?q=1 HTTP/1.1\r\n"
           "Host: 127.0.0.1:%d\r\n"
           "User-Agent: test/1\r\n"
           "Accept: application/ocsp-response\r\n"
           "Connection: keep-alive\r\n\r\n", server.port), "GET");

    url = apr_pstrcat(pool, url_of(server.port, "/"), NULL);
    long_url = apr_palloc(pool, 300);
    memset(long_url, 'a', 299);
    long_url[299] = '\0';
    fetch_url(apr_pstrcat(pool, url, long_url, NULL), SECOND);
    ok(!strncmp(server.last, "POST /aaa", 9), "POST when the URL is long");
    ok(strstr(server.last, "\r\nContent-Type: application/ocsp-request\r\n"
                           "Content-Length: 5\r\n\r\n\x30\x03\x0a\xff\xfe")
       != NULL,
       "... with type, length and body");

    urls[0] = "http://ocsp.example/x";
    job = job_for(urls, 1, NULL);
    job.proxy = apr_psprintf(pool, "http://127.0.0.1:%d", server.port);
    result = fetch_once(&job);
    is_int(result.outcome, STAPLE_FETCH_OK, "through a proxy");
    ok(!strncmp(server.last, "GET http://ocsp.example/x/MAMK%2F%2F4%3D "
                             "HTTP/1.1\r\nHost: ocsp.example\r\n", 66),
       "... the absolute form, the host's own name");
    stop(&server);
}

static void test_validators(void)
{
    server_t server = { .status = 304, .fields = "ETag: \"x1\"\r\n"
                        "Cache-Control: max-age=60\r\nAge: 20\r\n" };
    const char *url;
    staple_fetch_job_t job;
    result_t result;

    start(&server);
    url = url_of(server.port, "/");
    job = job_for(&url, 1, NULL);
    job.if_none_match = "\"x0\"";
    job.if_modified_since = "Sun, 06 Nov 1994 08:49:37 GMT";
    result = fetch_once(&job);
    is_int(result.outcome, STAPLE_FETCH_NOT_MODIFIED, "304, asked for");
    ok(strstr(server.last, "If-None-Match: \"x0\"\r\n"
              "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL,
       "the validators are sent");
    is_str(result.etag, "\"x1\"", "the new one is handed up");
    is_int(result.fresh_for, 40 * SECOND, "freshness is handed up, less Age");
    stop(&server);

    server.status = 503;
    server.fields = "Retry-After: 7\r\n";
    start(&server);
    result = fetch_url(url_of(server.port, "/"), SECOND);
    ok(result.retry_after > 6 * SECOND && result.retry_after <= 7 * SECOND,
       "Retry-After is handed up");
    is_int(result.http_status, 503, "... with the status");
    stop(&server);
}

/* GET, then POST where that may help; what worked is done first next time. */
static void test_methods(void)
{
    static const int cures[] = { 400, 403, 404, 405, 414, 501 };
    apr_size_t i;

    for (i = 0; i <= sizeof(cures) / sizeof(cures[0]); i++) {
        int is_judged = i == sizeof(cures) / sizeof(cures[0]);
        server_t server = { .get_status = is_judged ? 200 : cures[i],
                            .get_body = "bad" };
        staple_fetch_t *fetch = engine(2, NULL);
        result_t first = { 0 }, second = { 0 };

        start(&server);
        submit(fetch, url_of(server.port, "/"), &first, SECOND);
        run(fetch);
        submit(fetch, url_of(server.port, "/"), &second, SECOND);
        run(fetch);
        ok(first.outcome == STAPLE_FETCH_OK && second.outcome == STAPLE_FETCH_OK
           && server.requests == 3 && server.gets == 1,
           "POST after GET that got %s, and from then on",
           is_judged ? "a bad answer" : apr_itoa(pool, cures[i]));
        staple_fetch_destroy(fetch);
        stop(&server);
    }
    {
        server_t server = { .get_status = 500 };
        result_t result;

        start(&server);
        result = fetch_url(url_of(server.port, "/"), SECOND);
        ok(result.http_status == 500 && server.requests == 1,
           "no POST after 500");
        stop(&server);
    }
}

static void test_redirect(void)
{
    server_t target = { .manner = ANSWER };
    server_t server = { .status = 301 };
    result_t result;

    start(&target);
    server.fields = apr_psprintf(pool, "Location: http://127.0.0.1:%d/there?a"
                                 "\r\n", target.port);
    start(&server);
    result = fetch_url(url_of(server.port, "/"), SECOND);
    is_int(result.outcome, STAPLE_FETCH_OK, "a redirect is followed");
    ok(!strncmp(target.last, "GET /there?a HTTP/1.1\r\n", 23),
       "... to just where it points");
    stop(&server);
    stop(&target);
}

static void test_failover(void)
{
    server_t good = { .manner = ANSWER };
    server_t bad = { .status = 500 };
    const char *urls[4];
    staple_fetch_job_t job;
    result_t result;

    start(&good);
    start(&bad);
    urls[0] = url_of(bad.port, "/");
    urls[1] = "ldap://127.0.0.1/";
    urls[2] = url_of(good.port, "/");
    urls[3] = url_of(bad.port, "/other");
    job = job_for(urls, 4, NULL);
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_OK && result.url_index == 2,
       "the third URL answers");
    job.first_url = 3;
    bad.requests = 0;
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_OK && bad.requests == 2,
       "from the last URL on, around to the first ones");
    job.first_url = 2;
    bad.requests = 0;
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_OK && !bad.requests,
       "from the one that works");
    job.urls_count = 2;
    job.first_url = 0;
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_HTTP_STATUS && result.url_index == 0,
       "a URL that cannot be asked does not hide the real failure");
    stop(&good);
    stop(&bad);
}

static void test_keepalive(void)
{
    server_t server = { .manner = ANSWER };
    server_t stale = { .manner = STALE };
    server_t closing = { .manner = EARLY };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t results[10] = { { 0 } };
    int i, good = 0;

    start(&server);
    for (i = 0; i < 10; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], SECOND);
    }
    run(fetch);
    for (i = 0; i < 10; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    ok(good == 10 && server.requests == 10 && server.connections == 1,
       "ten answers over one connection");
    staple_fetch_destroy(fetch);
    stop(&server);

    fetch = engine(2, NULL);
    start(&stale);
    for (good = i = 0; i < 3; i++) {
        result_t result = { 0 };

        submit(fetch, url_of(stale.port, "/"), &result, SECOND);
        run(fetch);
        good += result.outcome == STAPLE_FETCH_OK && result.calls == 1;
    }
    is_int(good, 3, "a reused connection that breaks is made anew");
    is_int(stale.connections, 3, "... each time");
    staple_fetch_destroy(fetch);
    stop(&stale);

    fetch = engine(2, NULL);
    start(&closing);
    for (good = i = 0; i < 20; i++) {
        result_t result = { 0 };

        submit(fetch, url_of(closing.port, "/"), &result, SECOND);
        run(fetch);
        good += result.outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 20, "a server that closes without saying so harms nobody");
    staple_fetch_destroy(fetch);
    stop(&closing);
}

static void test_concurrency(void)
{
    server_t server = { .delay_ms = 20 };
    staple_fetch_t *fetch = engine(32, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * 1000);
    apr_interval_time_t took;
    apr_time_t began;
    int i, good = 0;

    start(&server);
    for (i = 0; i < 1000; i++) {
        submit(fetch, url_of(server.port, apr_psprintf(pool, "/%d", i % 3)),
               &results[i], 5 * SECOND);
    }
    began = apr_time_now();
    run(fetch);
    took = apr_time_now() - began;
    for (i = 0; i < 1000; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 1000, "a thousand answers of 20 ms each");
    is_int(server.most_at_work, 16, "half of 32 at a time, no more");
    is_int(server.most_open, 16, "... and as many connections");
    is_int(server.connections, 16, "... all kept");
    ok(took < 1825 * 1000, "... within 1.3 times the ideal and 0.2 s");
    diag("%d ms (the ideal is 1250 ms)", (int)apr_time_as_msec(took));
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* As the watchdog does it: 200 ms at work, 100 ms away. */
static void test_slices(void)
{
    server_t server = { .delay_ms = 20 };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[100] = { { 0 } };
    apr_interval_time_t longest = 0;
    int i, before, after;

    start(&server);
    for (i = 0; i < 100; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], 5 * SECOND);
    }
    staple_fetch_run(fetch, MSEC(100));
    for (i = 0; i < 500 && server.at_work; i++) {
        usleep(1000);
    }
    before = server.requests;
    ok(staple_fetch_busy(fetch) + before > 100,
       "what is in flight is answered while nobody runs the engine");
    staple_fetch_run(fetch, 0);
    for (i = 0; i < 500 && server.requests < before + 4; i++) {
        usleep(1000);
    }
    after = server.requests;
    is_int(after - before, 4, "even the shortest run fills all its slots");
    for (i = 0; i < 100 && staple_fetch_busy(fetch); i++) {
        apr_time_t began = apr_time_now();

        staple_fetch_run(fetch, MSEC(50));
        if (apr_time_now() - began > longest) {
            longest = apr_time_now() - began;
        }
    }
    ok(longest < MSEC(60), "no run takes longer than its span");
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* One of ten hangs; the others do not notice. */
static void test_neighbours(void)
{
    enum { SERVERS = 10, EACH = 60, JOBS = SERVERS * EACH };
    apr_interval_time_t took[2] = { 0, 0 };
    int with;

    for (with = 0; with < 2; with++) {
        static const server_t none;
        server_t servers[SERVERS];
        result_t *results = apr_pcalloc(pool, sizeof(*results) * JOBS);
        staple_fetch_t *fetch = engine(32, NULL);
        apr_time_t began, last;
        int i, good = 0;

        for (i = 0; i < SERVERS; i++) {
            servers[i] = none;
            servers[i].delay_ms = 20;
            start(&servers[i]);
        }
        servers[0].manner = SILENT;
        for (i = 0; i < JOBS; i++) {
            if (with || i % SERVERS) {
                submit(fetch, url_of(servers[i % SERVERS].port, "/"),
                       &results[i], 2 * SECOND);
            }
        }
        last = began = apr_time_now();
        run(fetch);
        for (i = 0; i < JOBS; i++) {
            if (i % SERVERS && results[i].outcome == STAPLE_FETCH_OK) {
                good++;
                last = results[i].at > last ? results[i].at : last;
            }
        }
        took[with] = last - began;
        is_int(good, JOBS - EACH, with ? "the neighbours of a hung responder"
                                       : "nine responders alone");
        if (with) {
            is_int(servers[0].requests, 2, "two probes of the hung one");
            is_int(results[JOBS - SERVERS].outcome, STAPLE_FETCH_TIMEOUT,
                   "... whose failure is that of all its jobs");
            is_int(results[JOBS - SERVERS].is_asked, 0,
                   "... which is told");
            ok(last < results[0].at, "nobody waited for it");
        }
        staple_fetch_destroy(fetch);
        for (i = 0; i < SERVERS; i++) {
            stop(&servers[i]);
        }
    }
    ok(took[1] < took[0] * 13 / 10, "hardly longer than alone");
    diag("alone %d ms, beside a hung one %d ms",
         (int)apr_time_as_msec(took[0]), (int)apr_time_as_msec(took[1]));
}

/* Two that worked and then hang have all the slots they can get. */
static void test_newcomer(void)
{
    server_t hung[2] = { { .manner = ANSWER }, { .manner = ANSWER } };
    server_t fresh = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(16, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * 100);
    result_t newcomer = { 0 };
    int i;

    for (i = 0; i < 2; i++) {
        start(&hung[i]);
    }
    start(&fresh);
    for (i = 0; i < 40; i++) {
        submit(fetch, url_of(hung[i % 2].port, "/"), &results[i], SECOND);
    }
    run(fetch);
    hung[0].manner = hung[1].manner = SILENT;
    for (i = 40; i < 100; i++) {
        submit(fetch, url_of(hung[i % 2].port, "/"), &results[i], SECOND);
    }
    staple_fetch_run(fetch, MSEC(50));
    ok(hung[0].at_work + hung[1].at_work >= 14, "two responders hang");
    submit(fetch, url_of(fresh.port, "/"), &newcomer, SECOND);
    staple_fetch_run(fetch, MSEC(100));
    is_int(newcomer.calls, 1, "a third one has a slot at once");
    run(fetch);
    staple_fetch_destroy(fetch);
    for (i = 0; i < 2; i++) {
        stop(&hung[i]);
    }
    stop(&fresh);
}

/* One bad certificate does not condemn the responder of a hundred others. */
static void test_one_bad(void)
{
    static const manner_e manners[] = {
        SILENT, RESET, HANGUP, GARBAGE, SHORT, DRIP, HUGE
    };
    apr_size_t m;

    for (m = 0; m < sizeof(manners) / sizeof(manners[0]); m++) {
        server_t server = { .manner = manners[m], .bad_path = "zzz" };
        staple_fetch_t *fetch = engine(8, NULL);
        result_t results[101] = { { 0 } };
        int i, good = 0;

        start(&server);
        for (i = 0; i < 101; i++) {
            staple_fetch_job_t job;
            const char *url = url_of(server.port, "/");

            job = job_for(&url, 1, &results[i]);
            job.timeout = MSEC(500);
            if (!i) { /* in base64: zzzz */
                job.request = (const unsigned char *)"\xcf\x3c\xf3";
                job.request_len = 3;
            }
            staple_fetch_submit(fetch, &job);
        }
        run(fetch);
        for (i = 1; i < 101; i++) {
            good += results[i].outcome == STAPLE_FETCH_OK;
        }
        ok(good == 100 && results[0].outcome != STAPLE_FETCH_OK,
           "a hundred beside one with fault %d", manners[m]);
        staple_fetch_destroy(fetch);
        stop(&server);
    }
}

/* What is down is left in peace, and found again soon. */
static void test_breaker(void)
{
    server_t server = { .status = 503 };
    server_t other = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[50] = { { 0 } };
    const char *urls[2];
    int i, failed = 0, good = 0;
    apr_time_t began;

    start(&server);
    start(&other);
    for (i = 0; i < 50; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], SECOND);
    }
    run(fetch);
    for (i = 0; i < 50; i++) {
        failed += results[i].http_status == 503;
    }
    is_int(failed, 50, "all fail with the same reason");
    is_int(server.requests, 2, "... but only two were sent");

    urls[0] = url_of(server.port, "/");
    urls[1] = url_of(other.port, "/");
    for (i = 0; i < 50; i++) {
        staple_fetch_job_t job = job_for(urls, 2, &results[i]);

        staple_fetch_submit(fetch, &job);
    }
    run(fetch);
    for (i = 0; i < 50; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK
                && results[i].url_index == 1;
    }
    is_int(good, 50, "with another URL, they go there");
    is_int(server.requests, 2, "... at once");

    server.status = 200;
    began = apr_time_now();
    for (good = i = 0; i < 300 && !good; i++) {
        result_t result = { 0 };

        submit(fetch, urls[0], &result, SECOND);
        run(fetch);
        good = result.outcome == STAPLE_FETCH_OK;
        usleep(10000);
    }
    ok(good && apr_time_now() - began < 3 * SECOND, "it is back within 3 s");
    staple_fetch_destroy(fetch);
    stop(&server);
    stop(&other);
}

/* The same for a site that cannot be reached; what was not asked has the
 * reason of what was, but no times. */
static void test_breaker_site(void)
{
    staple_fetch_t *fetch = engine(8, NULL);
    result_t results[20] = { { 0 } };
    server_t server = { .manner = ANSWER };
    int i, refused = 0, asked = 0, timed = 0;

    start(&server);
    stop(&server); /* nobody listens there any more */
    for (i = 0; i < 20; i++) {
        submit(fetch, url_of(server.port, i % 2 ? "/a" : "/b"), &results[i],
               SECOND);
    }
    run(fetch);
    for (i = 0; i < 20; i++) {
        refused += results[i].outcome == STAPLE_FETCH_REFUSED
                   && strstr(results[i].reason, "does anything listen");
        asked += results[i].is_asked;
        timed += results[i].resolve_took >= 0;
    }
    is_int(refused, 20, "a site that is down: all are told the same reason");
    is_int(asked, 2, "... two were asked");
    is_int(timed, 2, "... and no other took any time");
    staple_fetch_destroy(fetch);
}

/* Until the threads in stuck.test are as many. */
static int wait_for_stuck(int count)
{
    int i, stuck = -1;

    for (i = 0; i < 500 && stuck != count; i++) {
        usleep(1000);
        pthread_mutex_lock(&names.lock);
        stuck = names.stuck;
        pthread_mutex_unlock(&names.lock);
    }
    return stuck == count;
}

static void test_names(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * 1000);
    result_t stuck = { 0 };
    int i, good = 0;
    apr_time_t began;

    start(&server);
    names.lookups = 0;
    submit(fetch, "http://stuck.test/", &stuck, MSEC(300));
    for (i = 0; i < 1000; i++) {
        submit(fetch, apr_psprintf(pool, "http://some.test:%d/", server.port),
               &results[i], 5 * SECOND);
    }
    run(fetch);
    for (i = 0; i < 1000; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 1000, "a thousand for one name, beside one that is stuck");
    is_int(names.lookups, 2, "... one lookup for each");
    is_int(stuck.outcome, STAPLE_FETCH_NO_NAME, "the stuck one is given up");
    submit(fetch, "http://stuck.test/", &stuck, MSEC(100));
    submit(fetch, "http://stuck.test/x", &stuck, MSEC(100));
    run(fetch);
    is_int(names.lookups, 2, "... and not looked up twice at a time");
    is_int(stuck.calls, 3, "... for any job");
    began = apr_time_now();
    staple_fetch_destroy(fetch);
    ok(apr_time_now() - began < MSEC(100), "nor does it hold up the end");

    pthread_mutex_lock(&names.lock);
    names.is_free = 1;
    pthread_cond_broadcast(&names.freed);
    pthread_mutex_unlock(&names.lock);
    ok(wait_for_stuck(0), "its thread ends after the engine");
    stop(&server);
}

/* A process may exit while a name server keeps a lookup waiting. */
static void test_exit(void)
{
    int i, status = -1;
    pid_t pid = fork();

    if (!pid) {
        staple_fetch_t *fetch = engine(2, NULL);
        result_t result = { 0 };

        submit(fetch, "http://stuck.test/", &result, SECOND);
        staple_fetch_run(fetch, MSEC(20));
        if (!wait_for_stuck(1)) {
            _exit(2);
        }
        staple_fetch_destroy(fetch);
        exit(result.outcome == STAPLE_FETCH_STOPPED ? 0 : 3);
    }
    for (i = 0; i < 2000 && waitpid(pid, &status, WNOHANG) == 0; i++) {
        usleep(1000);
    }
    if (i == 2000) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    is_int(status, 0, "a process ends while a lookup hangs");
}

/* An engine may go with its pool; nobody is called back then. */
static void test_pool(void)
{
    server_t server = { .manner = SILENT };
    apr_pool_t *outer = pool;
    result_t results[8] = { { 0 } };
    staple_fetch_t *fetch;
    int i, calls = 0;

    start(&server);
    apr_pool_create(&pool, NULL);
    fetch = engine(2, NULL);
    for (i = 0; i < 8; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], SECOND);
    }
    staple_fetch_run(fetch, MSEC(20));
    submit(fetch, url_of(server.port, "/"), &results[0], SECOND);
    apr_pool_destroy(pool);
    pool = outer;
    for (i = 0; i < 8; i++) {
        calls += results[i].calls;
    }
    is_int(calls, 0, "an engine goes with its pool");
    stop(&server);
}

static void test_eyeballs(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t first = { 0 }, second = { 0 };
    hole_t hole;

    start(&server);
    if (!dig(&hole, "127.0.0.2", server.port)) {
        ok(1, "# SKIP no 127.0.0.2 here");
        stop(&server);
        return;
    }
    submit(fetch, apr_psprintf(pool, "http://eyes.test:%d/", server.port),
           &first, 3 * SECOND);
    run(fetch);
    ok(first.outcome == STAPLE_FETCH_OK && first.took >= MSEC(240)
       && first.took < MSEC(800), "the second address is tried after 250 ms");
    is_str(first.peer, apr_psprintf(pool, "127.0.0.1:%d", server.port),
           "... and told");
    server.fields = "Connection: close\r\n";
    submit(fetch, apr_psprintf(pool, "http://eyes.test:%d/", server.port),
           &second, 3 * SECOND);
    run(fetch);
    submit(fetch, apr_psprintf(pool, "http://eyes.test:%d/", server.port),
           &second, 3 * SECOND);
    run(fetch);
    ok(second.outcome == STAPLE_FETCH_OK && second.took < MSEC(200),
       "next time it is the first");
    staple_fetch_destroy(fetch);
    fill(&hole);
    stop(&server);
}

/* A slow address that answers after all, when another has the request. */
static void test_late_address(void)
{
    server_t server = { .manner = ANSWER, .delay_ms = 1500 };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t result = { 0 };
    int fd, i, late = 0;
    hole_t hole;

    start(&server);
    if (!dig(&hole, "127.0.0.2", server.port)) {
        ok(1, "# SKIP no 127.0.0.2 here");
        staple_fetch_destroy(fetch);
        stop(&server);
        return;
    }
    submit(fetch, apr_psprintf(pool, "http://eyes.test:%d/", server.port),
           &result, 3 * SECOND);
    staple_fetch_run(fetch, MSEC(400));
    for (i = 0; i < 8; i++) {
        close(hole.fillers[i]);
        hole.fillers[i] = -1;
    }
    fcntl(hole.fd, F_SETFL, O_NONBLOCK);
    for (i = 0; i < 30 && staple_fetch_run(fetch, MSEC(100)); i++) {
        while ((fd = accept(hole.fd, NULL, NULL)) >= 0) {
            char byte;

            late += recv(fd, &byte, 1, 0) > 0; /* the fillers are closed */
            close(fd);
        }
    }
    is_int(result.outcome, STAPLE_FETCH_OK, "an address that comes too late");
    is_int(server.requests + late, 1, "... is not asked beside the other");
    staple_fetch_destroy(fetch);
    fill(&hole);
    stop(&server);
}

static void test_ipv6(void)
{
    server_t server = { .manner = ANSWER };
    server_t v4only = { .manner = ANSWER };
    result_t result;

    if (!start_at(&server, "::1", 0)) {
        ok(1, "# SKIP no IPv6 here");
        return;
    }
    result = fetch_url(apr_psprintf(pool, "http://[::1]:%d/", server.port),
                       SECOND);
    is_int(result.outcome, STAPLE_FETCH_OK, "an IPv6 literal");
    is_str(result.peer, apr_psprintf(pool, "[::1]:%d", server.port),
           "... and its name");
    ok(strstr(server.last, apr_psprintf(pool, "Host: [::1]:%d\r\n",
                                        server.port)) != NULL,
       "... in Host");
    stop(&server);

    start(&v4only);
    result = fetch_url(apr_psprintf(pool, "http://eyes6.test:%d/",
                                    v4only.port), SECOND);
    ok(result.outcome == STAPLE_FETCH_OK && result.took < MSEC(200),
       "IPv6 refused, IPv4 at once");
    stop(&v4only);
}

static void *stop_soon(void *data)
{
    usleep(100000);
    staple_fetch_stop(data);
    return NULL;
}

static void test_stop(void)
{
    server_t server = { .manner = SILENT };
    staple_fetch_t *fetch = engine(4, NULL);
    result_t results[20] = { { 0 } };
    pthread_t thread;
    apr_time_t began;
    int i, stopped = 0;

    start(&server);
    for (i = 0; i < 20; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], 10 * SECOND);
    }
    began = apr_time_now();
    pthread_create(&thread, NULL, stop_soon, fetch);
    staple_fetch_run(fetch, 5 * SECOND);
    ok(apr_time_now() - began < MSEC(250), "a run is stopped from outside");
    pthread_join(thread, NULL);
    began = apr_time_now();
    staple_fetch_run(fetch, 5 * SECOND);
    results[0].fetch = fetch;
    staple_fetch_destroy(fetch);
    ok(apr_time_now() - began < MSEC(50), "... and so is each later one");
    for (i = 0; i < 20; i++) {
        stopped += results[i].calls == 1
                   && results[i].outcome == STAPLE_FETCH_STOPPED;
    }
    is_int(stopped, 20, "every job is told");
    stop(&server);
}

static void test_submit_from_done(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t first = { 0 }, second = { 0 };
    const char *url;
    staple_fetch_job_t job, bad = { 0 };
    apr_time_t began;

    start(&server);
    url = url_of(server.port, "/");
    job = job_for(&url, 1, &second);
    first.fetch = fetch;
    first.next = &job;
    submit(fetch, "bad", &first, SECOND);
    began = apr_time_now();
    is_int(staple_fetch_run(fetch, SECOND), 0, "a run ends when all is done");
    ok(apr_time_now() - began < MSEC(500), "... early");
    ok(first.calls == 1 && second.outcome == STAPLE_FETCH_OK,
       "a job was submitted from a callback");
    is_int(staple_fetch_submit(fetch, &bad), APR_EINVAL, "an empty job");
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* With no descriptor left the engine waits, and goes on when there is one. */
static void test_descriptors(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(4, NULL);
    result_t result = { 0 }, later = { 0 };
    struct rlimit limit, low;
    int fds[200];
    int i, count = 0;

    start(&server);
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 150;
    setrlimit(RLIMIT_NOFILE, &low);
    while (count < 200 && (fds[count] = dup(0)) >= 0) {
        count++;
    }
    submit(fetch, url_of(server.port, "/"), &result, MSEC(200));
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_SYSTEM, "no descriptor is left");
    submit(fetch, url_of(server.port, "/"), &later, 5 * SECOND);
    staple_fetch_run(fetch, MSEC(50));
    for (i = 0; i < count; i++) {
        close(fds[i]);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    run(fetch);
    is_int(later.outcome, STAPLE_FETCH_OK, "... until there is one again");
    staple_fetch_destroy(fetch);
    stop(&server);
}

static long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, all = 0;

    if (!file) {
        return -1;
    }
    if (fscanf(file, "%ld %ld", &all, &pages) != 2) {
        pages = -1;
    }
    fclose(file);
    return pages < 0 ? -1 : pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int count_fds(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 1024; fd++) {
        struct pollfd pfd = { fd, 0, 0 };

        count += poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLNVAL);
    }
    return count;
}

static void run_many(staple_fetch_t *fetch, const server_t *server,
                     result_t *result, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        submit(fetch, url_of(server->port, i % 2 ? "/a" : "/b"), result,
               5 * SECOND);
        if (i % 100 == 99) {
            run(fetch);
        }
    }
    run(fetch);
}

/* STAPLE_TEST_EXCHANGES: how many; 100000 is what the project promises. */
static void test_memory(void)
{
    const char *wish = getenv("STAPLE_TEST_EXCHANGES");
    int count = wish ? atoi(wish) : 4000;
    server_t kept = { .manner = ANSWER };
    server_t closing = { .fields = "Connection: close\r\n" };
    staple_fetch_t *fetch = engine(16, NULL);
    apr_pool_t *outer = pool;
    result_t result = { 0 };
    long before, grown;
    int fds;

    start(&kept);
    start(&closing);
    apr_pool_create(&pool, NULL);
    run_many(fetch, &kept, &result, 1000);
    run_many(fetch, &closing, &result, 1000);
    apr_pool_clear(pool);
    before = resident();
    fds = count_fds();
    while (count > 0) {
        run_many(fetch, &kept, &result, 1000);
        run_many(fetch, &closing, &result, 1000);
        apr_pool_clear(pool);
        count -= 2000;
    }
    grown = resident() - before;
    if (before < 0 || IS_SANITIZED) {
        ok(1, "# SKIP no /proc here, or a sanitizer that keeps memory");
    }
    else {
        ok(grown < 1024, "memory stays flat");
        diag("%d exchanges, grown by %ld KiB", result.calls, grown);
    }
    staple_fetch_destroy(fetch);
    ok(count_fds() <= fds, "descriptors too");
    apr_pool_destroy(pool);
    pool = outer;
    stop(&kept);
    stop(&closing);
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    signal(SIGPIPE, SIG_IGN);

    test_exit(); /* before there are threads */
    test_outcomes();
    test_unreachable();
    test_denied();
    test_denied_redirect();
    test_deny_words();
    test_phases();
    test_requests();
    test_validators();
    test_methods();
    test_redirect();
    test_failover();
    test_keepalive();
    test_concurrency();
    test_slices();
    test_neighbours();
    test_newcomer();
    test_one_bad();
    test_breaker();
    test_breaker_site();
    test_names();
    test_eyeballs();
    test_late_address();
    test_ipv6();
    test_stop();
    test_pool();
    test_submit_from_done();
    test_descriptors();
    test_memory();

    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
