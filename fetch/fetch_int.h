/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_FETCH_INT_H
#define STAPLE_FETCH_INT_H

/*
 * What the files of the fetch engine have in common and nobody else sees:
 *
 *   staple_fetch.c           the engine: turns, events, its life
 *   fetch/exchange.c  an exchange: where it goes, and what follows an answer
 *   fetch/attempt.c   its attempts: one connection to one address each
 *   fetch/end.c       how an exchange ends, and who is to blame
 *   fetch/job.c       what becomes of a job
 *
 * Each calls those behind it and none before it, but that an attempt tells its
 * exchange of an answer; all call the queue, the connections and the look-ups,
 * which have headers of their own. What is to go
 * on is not called but left where the engine looks: a job whose next URL is to
 * be asked in `fresh`, an exchange with a later step in `exchanges`. Any step
 * may be the last of its exchange, which is then gone with its pool. Engine's
 * thread only.
 */

#include <stddef.h> /* first: the rings of APR want its offsetof */

#include <apr_poll.h>
#include <apr_pools.h>
#include <apr_ring.h>
#include <apr_time.h>

#include "staple_clock.h"
#include "staple_fetch.h"
#include "staple_magic.h"
#include "conn.h"
#include "dns.h"
#include "queue.h"
#include "staple_http.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct exchange_t exchange_t;

/** A job that waits or is under way: one block of malloc, the strings behind
 * it in there, and another one for a failure. */
typedef struct job_t {
    waiter_t waiter;     /* first: in fresh, or in the queue */
    staple_fetch_job_t ask;
    int tried;           /* how many of its URLs are left behind */
    apr_time_t started;  /* when its first exchange began; 0: not yet */
    failure_t *failure;  /* the last one worth telling; NULL: none yet */
} job_t;
_Static_assert(offsetof(job_t, waiter) == 0, "a waiter is a job");

/** The job that waits there; NULL: none. */
static inline job_t *staple_fetch_job_of(waiter_t *waiter)
{
    return (job_t *)waiter;
}

/** Where an exchange stands, in order of its life. */
typedef enum {
    RESOLVING,  /* waits for a look-up of its site */
    CONNECTING, /* has no connection yet; attempts are under way, or wait */
    SENDING,    /* has a connection and bytes left to write */
    RECEIVING,  /* waits for the rest of an answer */
    ENDED       /* has succeeded or failed: only traced, never looked at */
} exchange_state_e;

/** One connection to one address of an exchange's site, and what it carries.
 * Lives in the exchange's pool, and stays there when it has ended. */
typedef struct attempt_t {
    struct attempt_t *older;   /* of the same exchange; NULL: there is none */
    exchange_t *ex;
    staple_fetch_endpoint_t endpoint;
    conn_t *conn;              /* NULL: it has ended */
    int is_reused;             /* whether conn carried another one before */
    apr_size_t sent;           /* of the exchange's request */
    apr_size_t received;
    staple_http_parser_t *parser; /* NULL: not connected yet */
    char peer[STAPLE_FETCH_PEER_LEN];
    apr_time_t connected_at;   /* when it was connected, */
    apr_time_t sent_at;        /* the request sent, */
    apr_time_t received_at;    /* the first byte received; 0: not reached */
} attempt_t;

/** How many addresses wait for their turn, at most: each of a name may come
 * back once, when another was faster, and one when a kept connection broke. */
#define WAITING_MAX (2 * STAPLE_FETCH_ENDPOINTS_MAX + 1)

/** A job's visit to one responder, redirects and a second method included. */
struct exchange_t {
    APR_RING_ENTRY(exchange_t) link;
    apr_pool_t *pool;
    job_t *job;
    responder_t *responder; /* whose turn and health this counts for */
    site_t *site;           /* where it is asking now */
    exchange_state_e state;
    apr_time_t deadline;
    apr_interval_time_t patience; /* what an address is given before another
                               one is asked beside it */
    staple_fetch_turn_t turn;
    int is_overtaken;       /* whether the responder has begun to answer since
                               it was asked */
    apr_time_t aside_at;    /* when its place is given to others */

    staple_url_t post_url; /* the responder's, */
    staple_url_t get_url;  /* and with the request in it, if can_get */
    staple_url_t url;  /* that is asked now */
    int is_post;
    int can_get;            /* whether GET is possible at this responder */
    int is_switched;        /* whether the other method was tried before */
    int may_cure;           /* whether the other method may cure an answer
                               that was refused */
    int is_past_caches;     /* whether caches on the way are told to pass it
                               on */
    int is_conditional;     /* whether validators were sent */
    int redirects;
    int refusals;           /* answers that another address may better */
    const char *request;    /* of the visit to this site */
    apr_size_t request_len;

    staple_fetch_endpoint_t waiting[WAITING_MAX]; /* addresses to be tried, */
    int waiting_count;      /* so many, */
    int next_waiting;       /* this one next, */
    apr_time_t next_attempt; /* at this moment */
    attempt_t *attempts;    /* the newest one first */
    int has_repeated;       /* whether a kept connection was made anew */
    int is_slow;            /* whether some bytes have bought more patience */
    int is_fresh;           /* whether the name was looked up in this visit */
    apr_time_t known_to;    /* the site's fresh_to when its addresses were
                               taken */

    attempt_t *answered;    /* that brought the answer which is looked at */
    int has_failed;         /* whether failure says anything */
    failure_t failure;      /* the most telling one so far */
    attempt_t *refused;     /* whose answer that failure is about, or NULL */
    char peer[STAPLE_FETCH_PEER_LEN]; /* tried last */

    apr_time_t visited_at;  /* when the site was entered, */
    apr_time_t resolved_at; /* its addresses known; 0: not reached */
};
APR_RING_HEAD(exchanges_t, exchange_t);

#define FETCH_MAGIC 0x46455443u

/** The engine; nothing is taken from its pool once it runs. */
struct staple_fetch_t {
    staple_magic_t magic;
    apr_pool_t *pool;
    staple_fetch_conf_t conf;
    apr_pollset_t *pollset;
    int is_destroyed;
    int busy;                  /* jobs that wait or are under way */
    struct staple_fetch_waiter_ring_t fresh; /* jobs to be routed */
    struct exchanges_t exchanges;
    queue_t queue;
    staple_fetch_conns_t conns;
    staple_fetch_dns_t *dns;
    apr_pool_t *scratch;       /* for routing, cleared each time */
};

/* ----- fetch/job.c ----- */

/** A copy of all that a job points to; NULL: no memory. It is freed when it
 * ends, or by whoever ends the engine. */
job_t *staple_fetch_job_copy(const staple_fetch_job_t *ask);
void staple_fetch_job_free(job_t *job);

/** The URL whose turn it is. */
const char *staple_fetch_job_url(const job_t *job);

/**
 * The proxy that it is to go through.
 * @param proxy parsed into; strings live in p
 * @param through set to proxy, or to NULL: there is none
 * @return whether it can go that way; false: the proxy's URL is no good
 */
int staple_fetch_job_proxy(const job_t *job, staple_url_t *proxy,
                           const staple_url_t **through, apr_pool_t *p);

/** An answer of the URL whose turn it is, in which nothing is said yet. */
void staple_fetch_job_init_answer(staple_fetch_answer_t *answer,
                                  const job_t *job);

/** A failure of that URL, likewise. */
void staple_fetch_job_init_failure(failure_t *failure, const job_t *job,
                                   staple_fetch_outcome_e outcome);

/** The end of a job: tell its owner. It is gone then. */
void staple_fetch_job_end(staple_fetch_t *fetch, job_t *job,
                          const staple_fetch_answer_t *answer);

/** The end of a job that the engine's end has overtaken. */
void staple_fetch_job_end_stopped(staple_fetch_t *fetch, job_t *job);

/**
 * The job has failed at a URL: on to its next one, or to its end.
 * @param rejected the answer that was read and not accepted; NULL: none was
 */
void staple_fetch_job_pass_on(staple_fetch_t *fetch, job_t *job,
                              const failure_t *failure,
                              const staple_fetch_answer_t *rejected);

/** The same for a failure of which no more is known. */
void staple_fetch_job_pass_on_as(staple_fetch_t *fetch, job_t *job,
                                 staple_fetch_outcome_e outcome,
                                 const char *reason);

/* ----- fetch/end.c ----- */

/** What an attempt has read, whole; its outcome and reason are not set. */
void staple_fetch_make_answer(const attempt_t *attempt,
                              staple_fetch_answer_t *answer);

/** Give everything back but the pool, which the caller may still read. */
void staple_fetch_leave(staple_fetch_t *fetch, exchange_t *ex);

/**
 * Write down that something has failed, unless what is written down already
 * tells more. The exchange goes on.
 * @param attempt that has failed; NULL: the exchange as a whole
 */
__attribute__((format(printf, 4, 5)))
void staple_fetch_note_failure(exchange_t *ex, attempt_t *attempt,
                               staple_fetch_outcome_e outcome,
                               const char *fmt, ...);

/** The exchange has failed, as was written down; the job goes on to its next
 * URL. */
void staple_fetch_fail(staple_fetch_t *fetch, exchange_t *ex);

/** The exchange has brought what was wanted (ex->answered), and with it the
 * job's end. */
void staple_fetch_succeed(staple_fetch_t *fetch, exchange_t *ex,
                          staple_fetch_outcome_e outcome);

/* ----- fetch/exchange.c ----- */

/** Begin the job's visit to a responder whose turn it is. */
void staple_fetch_exchange_start(staple_fetch_t *fetch, job_t *job,
                                 responder_t *responder, apr_time_t now);

/** Take the step that is due at this moment, if any. */
void staple_fetch_exchange_step(staple_fetch_t *fetch, exchange_t *ex,
                                apr_time_t now);

/** When staple_fetch_exchange_step is needed next, if nothing happens before;
 * a look-up that ends is such a thing. */
apr_time_t staple_fetch_exchange_next_step(const exchange_t *ex);

/** The name of the site where it waits has no address; error is
 * getaddrinfo's, or 0. */
void staple_fetch_exchange_unresolved(staple_fetch_t *fetch, exchange_t *ex,
                                      int error);

/** An attempt has read a response, whole unless only its status counts. */
void staple_fetch_exchange_on_response(staple_fetch_t *fetch,
                                       attempt_t *attempt);

/** No address is left: what can be done now? */
void staple_fetch_exchange_without_address(staple_fetch_t *fetch,
                                           exchange_t *ex);

/** Where it connects to, for a reason: "ocsp.example:80". */
const char *staple_fetch_exchange_where(const exchange_t *ex);

/** The one place where the state changes; it is traced. attempt: that made it
 * change, or NULL. */
void staple_fetch_exchange_set_state(staple_fetch_t *fetch, exchange_t *ex,
                                     exchange_state_e state,
                                     const attempt_t *attempt);

/* ----- fetch/attempt.c ----- */

/** Begin with the addresses of the exchange's site, which are known. */
void staple_fetch_attempt_begin(staple_fetch_t *fetch, exchange_t *ex);

/** Try the next address that waits; where none does and none is under way, the
 * exchange is without an address. */
void staple_fetch_attempt_next(staple_fetch_t *fetch, exchange_t *ex);

/** The time has come when another address is to be tried (ex->next_attempt). */
void staple_fetch_attempt_step(staple_fetch_t *fetch, exchange_t *ex,
                               apr_time_t now);

/** Whether that time will come at all. */
int staple_fetch_attempt_is_left(const exchange_t *ex);

/** Whether one has its connection, or is making it. */
int staple_fetch_attempt_is_open(const exchange_t *ex);

/** Of those that wait for their answer, the one that has come furthest with it;
 * NULL: none has a connection. */
attempt_t *staple_fetch_attempt_furthest(const exchange_t *ex);

/** Whether a byte of an answer has come over one that is open. */
int staple_fetch_attempt_has_bytes(const exchange_t *ex);

/** End all attempts; those that were asked and have not answered have
 * failed, if are_failed. */
void staple_fetch_attempt_end_all(staple_fetch_t *fetch, exchange_t *ex,
                                  int are_failed);

/** The attempt's address has failed, as was written down: on to the next. */
void staple_fetch_attempt_fail(staple_fetch_t *fetch, attempt_t *attempt);

/** The connection of an attempt was made, or could not be. */
void staple_fetch_attempt_connected(staple_fetch_t *fetch, conn_t *conn);

/** Something has happened at the connection of an attempt. */
void staple_fetch_attempt_go_on(staple_fetch_t *fetch, attempt_t *attempt,
                                apr_int16_t events);

/** Why there is no connection, for the exchange as a whole. */
void staple_fetch_attempt_note_error(exchange_t *ex, attempt_t *attempt,
                                     apr_status_t rv);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_FETCH_INT_H */
