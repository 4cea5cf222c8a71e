/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_FETCH_H
#define STAPLE_FETCH_H

/*
 * The fetch engine: many HTTP exchanges with OCSP responders at a time, on
 * APR sockets and one apr_pollset, none of them trusted and none waited for.
 *
 * The one idea: the engine never blocks and never runs by itself. Whoever owns
 * it (the refresh, in the refresher's first thread) calls
 * staple_fetch_run with a span of time; within it every exchange takes the
 * steps it can take. Name resolution, which blocks, runs on a thread of the
 * engine's own.
 *
 * It knows HTTP through staple_http and nothing of OCSP: a request is bytes,
 * and whether the bytes of an answer are worth anything is asked of the
 * caller (staple_fetch_judge_fn), because another method or responder may
 * cure a bad answer within the same round.
 *
 * One thread uses an engine. The process ignores SIGPIPE, as httpd does.
 */

#include <apr_pools.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * How a round ended. Values are stored in shared memory and shown: append,
 * never renumber.
 */
typedef enum {
    STAPLE_FETCH_OK = 0,          /* the caller accepted an answer */
    STAPLE_FETCH_BAD_URL,         /* not a URL that can be asked: https, ldap */
    STAPLE_FETCH_DENIED,          /* address denied by the configuration */
    STAPLE_FETCH_NO_NAME,         /* the host's name could not be resolved */
    STAPLE_FETCH_REFUSED,         /* connection refused */
    STAPLE_FETCH_UNREACHABLE,     /* no route to it */
    STAPLE_FETCH_CONNECT_TIMEOUT, /* no connection within the deadline */
    STAPLE_FETCH_TIMEOUT,         /* connected, no whole answer in time */
    STAPLE_FETCH_RESET,           /* the connection broke */
    STAPLE_FETCH_NOT_HTTP,        /* the answer is no HTTP response */
    STAPLE_FETCH_HTTP_STATUS,     /* an HTTP error; see http_status */
    STAPLE_FETCH_TOO_LARGE,       /* more than max_body bytes */
    STAPLE_FETCH_TRUNCATED,       /* closed before the announced end */
    STAPLE_FETCH_BAD_REDIRECT,    /* too many, or to somewhere not allowed */
    STAPLE_FETCH_REJECTED,        /* the caller's judge did not accept it */
    STAPLE_FETCH_STOPPED,         /* the engine was stopped */
    STAPLE_FETCH_SYSTEM,          /* no memory, no descriptors ... */
    STAPLE_FETCH_NOT_MODIFIED     /* 304: what the job's validators name is
                                     still the newest (RFC 9110 15.4.5) */
} staple_fetch_outcome_e;

/** An outcome as words, "connection timed out". */
const char *staple_fetch_outcome_text(staple_fetch_outcome_e outcome);

/** An answer, or the lack of one; valid during the callback only. */
typedef struct staple_fetch_answer_t {
    staple_fetch_outcome_e outcome;
    int http_status;          /* 0: none was read */
    const char *url;          /* the URL asked, as given in the job */
    int url_index;            /* its index there */
    const char *peer;         /* "192.0.2.1:80", tried last; "" if none */
    const char *reason;       /* a phrase for the log: what happened, and where
                                 it helps what to look at; never raw bytes of
                                 the peer */
    const unsigned char *body; /* NULL unless an answer was read whole */
    apr_size_t body_len;
    int is_typed;             /* Content-Type: application/ocsp-response */
    apr_interval_time_t retry_after; /* from Retry-After; -1: none */
    apr_interval_time_t fresh_for;   /* from Cache-Control or Expires, less Age;
                                        -1: none */
    apr_interval_time_t took;        /* from the start of the round: of its
                                        first exchange */
    /* Where the last exchange spent its time; -1: that phase did not end. With
       a redirect or a second method, only the last visit counts. */
    apr_interval_time_t resolve_took; /* until the addresses were known */
    apr_interval_time_t connect_took; /* from there to a connection; next to
                                         nothing where one was kept */
    apr_interval_time_t wait_took;    /* from the request sent to the first
                                         byte */
    const char *etag;          /* the validators of an answer, */
    const char *last_modified; /* for a later job; NULL: none was given */
    int is_asked; /* whether anything was asked in this round; false where each
                     responder had just failed others, and is not asked for
                     some seconds: the reason is then theirs */
} staple_fetch_answer_t;

/** What the caller says of an answer; the values of the first two may stay. */
typedef enum {
    STAPLE_FETCH_UNREADABLE = 0, /* not even of the form that was asked for:
                                    another address, and then the other method,
                                    may bring a better one */
    STAPLE_FETCH_ACCEPTED = 1,   /* it is what was wanted */
    STAPLE_FETCH_UNUSABLE,       /* well formed and of no use:
                                    another address may bring a better one */
    STAPLE_FETCH_BAD_METHOD,     /* the request was not understood: the other
                                    method may do */
    STAPLE_FETCH_STALE,          /* it was of use once: a cache on the way may
                                    have kept it, and is told once not to
                                    (RFC 9919); then as UNREADABLE, since what
                                    is sent with POST is not cached */
    STAPLE_FETCH_FINAL           /* the responder's word: only another
                                    responder may say something else */
} staple_fetch_judgement_e;

/**
 * Asked for each 200 answer: is it what was wanted? Must not block. ACCEPTED
 * ends the round with STAPLE_FETCH_OK; anything else lets the engine try what
 * is left of it, at last the next URL, and end with STAPLE_FETCH_REJECTED.
 */
typedef staple_fetch_judgement_e
staple_fetch_judge_fn(void *baton, const staple_fetch_answer_t *answer);

/**
 * Called once for each submitted job, from staple_fetch_run or _destroy. May
 * submit new jobs, but neither run nor destroy the engine.
 */
typedef void staple_fetch_done_fn(void *baton,
                                  const staple_fetch_answer_t *answer);

/** What to ask, and whom. Zero it first. Copied by staple_fetch_submit. */
typedef struct staple_fetch_job_t {
    const char *const *urls; /* the responders in order; at least one */
    int urls_count;
    int first_url;           /* index of the one to ask first; the others
                                follow in order, wrapping around */
    const unsigned char *request; /* the DER of an OCSPRequest; NULL: the URL is
                                asked for as it stands, with GET */
    apr_size_t request_len;
    const char *proxy;       /* "http://host:port" to go through; NULL: none */
    const char *proxy_credentials; /* what the proxy wants to read behind
                                Proxy-Authorization: Basic; NULL: none */
    apr_interval_time_t timeout; /* one exchange with one responder: resolve,
                                    connect, send and receive */
    staple_fetch_judge_fn *judge;
    staple_fetch_done_fn *done;
    staple_fetch_done_fn *passed; /* called for each URL that has failed while
                                    another is left; or NULL */
    void (*reading)(void *baton, int is_reading); /* called around each piece
                                    of work on bytes of the answer; or NULL */
    void *baton;             /* for these four */
    const char *if_none_match;     /* validators of an earlier answer, */
    const char *if_modified_since; /* sent with GET only; NULL: none */
    int is_suspect;          /* its last question went unanswered, so the fault
                                may be its own: if it does again, that says
                                nothing new to jobs that are not suspect */
    int is_probe; /* whether it is one question that finds out whether the
                     responder answers again: it waits neither for a turn nor
                     for a rest to end, and says nothing if it fails. When it
                     succeeds, nobody rests any longer */
} staple_fetch_job_t;

/** A step of an exchange, for the log; valid during the callback only. */
typedef struct staple_fetch_trace_t {
    const char *url;          /* that is asked, as in the job */
    const char *peer;         /* "192.0.2.1:80"; "": none yet */
    const char *from, *to;    /* its states, in words */
    const char *detail;       /* why it has failed; "": it has not */
    apr_interval_time_t took; /* since the exchange began at this host */
} staple_fetch_trace_t;

/** Limits of an engine. */
typedef struct staple_fetch_conf_t {
    int concurrency;          /* exchanges at a time; at most half of them, but
                                 at least one, per responder address */
    apr_size_t max_body;      /* bytes of a response; 64 KiB by default */
    const char *user_agent;   /* the User-Agent header */
    /* Why an address may not be asked, by its text form (an IPv4 address mapped
       into IPv6 as the IPv4 one): a constant phrase that follows it; NULL is
       returned for one that may be asked, and set where any may. Asked for each
       address of each host, after redirects too; behind a proxy, which resolves
       names itself, for addresses in URLs only. Never for the proxy. */
    const char *(*refusal)(const void *baton, const char *host,
                           const char *address, apr_uint16_t port);
    const void *refusal_baton;
    /* Called at each change of an exchange's state; NULL: nobody wants to
       know. */
    void (*trace)(void *baton, const staple_fetch_trace_t *trace);
    void *trace_baton;
    /* Asked when a wait was interrupted: whether staple_fetch_run is to return
       at once; NULL: it is not. */
    int (*is_ending)(void *baton);
    void *ending_baton;
} staple_fetch_conf_t;

typedef struct staple_fetch_t staple_fetch_t;

/**
 * @param p outlives the engine; the engine makes a pool of its own for each
 *        exchange and allocates nothing from p later
 */
apr_status_t staple_fetch_create(staple_fetch_t **fetch,
                                 const staple_fetch_conf_t *conf,
                                 apr_pool_t *p);

/**
 * Queue a job; its done callback comes from a later staple_fetch_run.
 * @return APR_SUCCESS; APR_EINVAL for a job without URL, request or callback;
 *         APR_ENOMEM; APR_EOF while the engine is destroyed
 */
apr_status_t staple_fetch_submit(staple_fetch_t *fetch,
                                 const staple_fetch_job_t *job);

/**
 * Let every exchange take the steps it can take, for at most `span`; returns
 * earlier when nothing is left to do, or when a signal came and is_ending
 * says so.
 * @return how many jobs are still under way or queued
 */
int staple_fetch_run(staple_fetch_t *fetch, apr_interval_time_t span);

/** How many jobs are under way or queued. */
int staple_fetch_busy(const staple_fetch_t *fetch);

/**
 * Drop all exchanges (done callbacks say STAPLE_FETCH_STOPPED) and give back
 * sockets, threads and memory. Never waits for a name server: a lookup under
 * way is left to finish alone.
 */
void staple_fetch_destroy(staple_fetch_t *fetch);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_FETCH_H */
