/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_FETCH_TEST_H
#define STAPLE_T_FETCH_TEST_H

/*
 * What the tests of the fetch engine have in common: servers that do as they
 * are told, a resolver, and a caller that notes what it is told. Everything
 * here is called by the test's own thread, unless it says otherwise.
 */

#include <pthread.h>

#include "staple_fetch.h"

#define SECOND apr_time_from_sec(1)
#define MSEC(n) apr_time_from_msec(n)
#define AMPLE (30 * SECOND) /* for what is answered, on a busy machine too */

/* ---- server.c: servers ---- */

/* The bytes of a short SEQUENCE, for ENDLESS; taken like "good". */
#define DER_BODY "\x30\x03\x0a\x01\x06"

typedef enum {
    ANSWER,   /* with status, fields and body */
    SILENT,   /* read, and say nothing */
    RESET,    /* read, and reset the connection */
    HANGUP,   /* read, and close it without an answer */
    GARBAGE,  /* another protocol */
    SHORT,    /* announce more than is sent */
    HALF,     /* the same, and the connection stays */
    DRIP,     /* one byte every 20 ms, for ever */
    HUGE,     /* announce and send 100 KiB */
    STALE,    /* answer one request of a connection, close at the second */
    HASTY,    /* answer before the body of the request, and do not read it
               * until the manner is another one */
    EARLY,    /* answer, then close without having said so */
    ENDLESS,  /* DER_BODY and the body, whose end is not told; the connection
               * stays */
    DEAF      /* answer one request of a connection, ignore the second */
} manner_e;

/* Lies on a test's stack, zero but for what it is told. */
typedef struct server_t {
    /* what it is told; manner and fields may change while it is at work */
    _Atomic manner_e manner;
    int status;              /* of an answer; 0: 200 */
    int get_status;          /* of an answer to GET; 0: as status */
    const char *_Atomic fields; /* header lines */
    const char *body;        /* NULL: "good" */
    const char *get_body;    /* to GET; NULL: as body */
    const char *cached;      /* to GET that does not say no-cache; NULL: as
                              * get_body */
    int delay_ms;
    const char *bad_path;    /* a request with this in its target is served in
                                the manner, all others are answered */
    /* what it has seen; the lock covers all, and the numbers are looked at
     * without it */
    pthread_mutex_t lock;
    _Atomic int connections, requests, gets, open, at_work, most_at_work,
        most_open;
    char last[4096];         /* the last request */
    /* what it is */
    int fd;
    int port;
    int is_closing;
    int threads;
} server_t;

/* A listening socket at an address and port (0: any); -1: not to be had. */
int listen_at(const char *ip, int port, int backlog);

int port_of(int fd);

/* Start on an address and port (0: any); 0: not to be had. */
int start_at(server_t *server, const char *ip, int port);

/* Start on 127.0.0.1, on a port from the kernel, or end the program. */
void start(server_t *server);

/* Until no thread uses the server. */
void stop(server_t *server);

/* An address where connecting takes for ever: its backlog is full. */
typedef struct hole_t {
    int fd;
    int port;
    int fillers[8];
} hole_t;

/* Make such an address; 0: it is not to be had. */
int dig(hole_t *hole, const char *ip, int port);

/* No more of it. */
void fill(hole_t *hole);

/* ---- names.c: the resolver ---- */

/* Guarded by its lock: names that end in ".test" do as is said here. */
typedef struct names_t {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    _Atomic int is_free; /* whether what ends in stuck.test may come back */
    _Atomic int stuck;   /* threads that wait in it */
    _Atomic int lookups;
    _Atomic int has_moved; /* moves.test: from 127.0.0.2 to 127.0.0.1 */
} names_t;

extern names_t names;

/* ---- caller.c: the caller ---- */

/* Of the whole program; a test may put another one in its place. */
extern apr_pool_t *pool;

/* What the engine said about a job; done() writes it. */
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

typedef const char *refusal_fn(const void *baton, const char *host,
                               const char *address, apr_uint16_t port);

/* An engine in the pool, or the end of the program. */
staple_fetch_t *engine(int concurrency, refusal_fn *refusal);

/* A job that takes the body "good" and notes into result. */
staple_fetch_job_t job_for(const char *const *urls, int count,
                           result_t *result);

/* http://127.0.0.1:port and the path, in the pool. */
const char *url_of(int port, const char *path);

void submit(staple_fetch_t *fetch, const char *url, result_t *result,
            apr_interval_time_t timeout);

/* As long as it is needed; every test ends, whatever is broken. */
void run(staple_fetch_t *fetch);

/* A job alone, on an engine of its own. */
result_t fetch_once(const staple_fetch_job_t *job);

result_t fetch_url(const char *url, apr_interval_time_t timeout);

/* ---- the tests, in the files of these names ---- */

/* outcomes.c */
void test_outcomes(void);
void test_unreachable(void);
void test_phases(void);

/* deny.c */
void test_denied(void);
void test_denied_redirect(void);
void test_deny_words(void);

/* requests.c */
void test_requests(void);
void test_validators(void);
void test_methods(void);
void test_cached(void);
void test_redirect(void);
void test_failover(void);

/* connections.c */
void test_keepalive(void);
void test_hasty(void);
void test_concurrency(void);
void test_slices(void);
void test_span(void);

/* neighbours.c */
void test_neighbours(void);
void test_newcomer(void);
void test_hanging_names(void);
void test_drippers(void);
void test_hangups(void);
void test_probe(void);
void test_one_bad(void);
void test_breaker(void);
void test_breaker_site(void);

/* addresses.c */
void test_names(void);
void test_exit(void);
void test_eyeballs(void);
void test_late_address(void);
void test_ipv6(void);
void test_moved(void);
void test_moved_silent(void);
void test_moved_shared(void);
void test_moved_not(void);

/* ill.c */
void test_ill_address(void);
void test_all_ill(void);
void test_half(void);
void test_address_order(void);
void test_endless(void);
void test_deaf(void);
void test_deaf_later(void);

/* life.c */
void test_stop(void);
void test_pool(void);
void test_submit_from_done(void);
void test_descriptors(void);
void test_memory(void);

#endif /* STAPLE_T_FETCH_TEST_H */
