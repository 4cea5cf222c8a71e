/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SHARE_INT_H
#define STAPLE_SHARE_INT_H

/*
 * What the files of the share have in common and only its tests see besides:
 *
 *   staple_share.c  the refresher's side: a share, its requests, callbacks
 *   share/thread.c  the thread that calls the provider
 *   share/engine.c  what lies between the two: requests, under a lock
 *   share/call.c    one call of the provider, without the lock
 *   share/entry.c   the bytes of what is stored; has its own header
 *
 * Each calls those behind it and none before it. Moments are those of the clock
 * that never jumps (staple_clock.h), unless a remark says that it is a date.
 */

#include <ap_socache.h>
#include <apr_thread_proc.h>

#include "staple_magic.h"
#include "staple_share.h"
#include "staple_wait.h"
#include "entry.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NEVER STAPLE_WAIT_NEVER

/** A call that has taken longer than this is treated as one that hangs. */
#define STAPLE_SHARE_STUCK apr_time_from_sec(1)

/** After so many errors in a row the provider is not called for the shortest
 * pause; each further error doubles it, up to the longest. */
#define STAPLE_SHARE_FAILING 3
#define STAPLE_SHARE_PAUSE_MIN apr_time_from_sec(1)
#define STAPLE_SHARE_PAUSE_MAX apr_time_from_sec(60)

/** What may wait for the thread: requests, and bytes of responses in them. */
#define STAPLE_SHARE_QUEUE_MAX 8192
#define STAPLE_SHARE_QUEUE_BYTES ((apr_size_t)8 * 1024 * 1024)

typedef enum { GET, CLAIM, PUT } operation_kind_e;

/** What the provider is asked for. */
typedef struct operation_t {
    operation_kind_e kind;
    unsigned char key[STAPLE_SHARE_KEY_LEN];
    apr_interval_time_t span; /* claim: for how long it is to stand */
    int is_written;           /* claim: this is the second look */
    apr_time_t expiry;        /* put: a date */
    apr_size_t len;           /* put: bytes of the record; else 0 */
} operation_t;

/** A request of the refresher: one block of malloc, with the record at its end.
 * Whoever takes it out of the list of finished requests frees it; a put is
 * freed by the thread. */
typedef struct request_t {
    struct request_t *next;
    operation_t op;
    apr_time_t deadline;          /* when it is too late; put: NEVER */
    staple_share_done_fn *done;   /* get, claim */
    void *baton;
    staple_share_answer_t answer; /* when done */
    unsigned char *der;           /* that answer.der points to; owned */
    apr_time_t ready_at;          /* settling: when to look again */
    unsigned char record[];       /* put */
} request_t;

/** First in, first out. */
typedef struct list_t {
    request_t *first;
    request_t *last; /* if there is a first */
    int count;
} list_t;

/** A call under way, used by the thread without the lock: a copy of its
 * request, because the refresher may take that away, and its result. */
typedef struct call_t {
    operation_t op;
    unsigned char *record; /* put: at the end of the request */
    staple_share_answer_t answer;
    unsigned char *der;    /* that answer.der points to, of malloc */
    int has_written;       /* claim: it was written by this call */
    int is_foreign;        /* what was found was not written by this module */
    apr_status_t health;   /* APR_SUCCESS: the provider works; APR_NOTFOUND:
                              cannot tell; else what failed */
} call_t;

/** The provider as configured, and what it is called with. */
typedef struct backend_t {
    const ap_socache_provider_t *provider;
    ap_socache_instance_t *instance;
    server_rec *server;       /* whose error log the provider writes */
    apr_abortfunc_t on_oom;   /* what httpd's pools call, for our own */
} backend_t;

/** What calls are made with. Only the thread uses it once that has started. */
typedef struct client_t {
    backend_t backend;
    unsigned char claim[STAPLE_SHARE_CLAIM_LEN]; /* the bytes of our claims */
    apr_pool_t *scratch;                         /* has no parent */
    unsigned char buf[STAPLE_SHARE_RECORD_MAX];
} client_t;

#define ENGINE_MAGIC 0x454E4749u

/** Everything that a thread uses. Its pools have no parent, so they live on
 * when the refresher's pools are destroyed while the thread is still in a call.
 * */
typedef struct engine_t {
    staple_magic_t magic;
    apr_pool_t *pool;      /* of all this; has no parent */
    client_t client;

    staple_wait_t *wait; /* guards what follows; the thread waits for requests,
                            the refresher for answers */
    list_t queued;
    list_t settling;
    list_t finished;
    request_t *running;   /* NULL: none, or taken away by the refresher */
    apr_time_t began;     /* of the running call; 0: none is made */
    apr_time_t began_date; /* the same moment by the wall clock */
    apr_size_t bytes;     /* of records in queued */
    int failing;          /* errors in a row */
    apr_time_t retry_at;  /* the end of a pause */
    staple_share_state_t state; /* but for is_slow and is_silent */
} engine_t;

/* ---- share/call.c: in the thread, without the lock ---- */

/** Call the provider as the request says. May take any time, or for ever. */
void staple_share_make_call(client_t *client, call_t *call);

/* ---- share/engine.c: under the lock ---- */

/** Queue a new request, or refuse it: where the queue is full, or while the
 * provider is not called. */
void staple_share_accept(engine_t *engine, request_t *request, apr_time_t now);

/** End a request that will not be made: a put is dropped and freed, the others
 * are finished without an answer. */
void staple_share_refuse(engine_t *engine, request_t *request);

/** Take the request that is to be handled next; NULL: there is none now. */
request_t *staple_share_take_next(engine_t *engine, apr_time_t now);

/** Note that a request is worked on from now, and fill in the call for it. */
void staple_share_begin(engine_t *engine, request_t *request, apr_time_t now,
                        call_t *call);

/** Note the result of a call. Its request is then finished, or settling, unless
 * the refresher has taken it away. */
void staple_share_conclude(engine_t *engine, request_t *request,
                           const call_t *call, apr_time_t now);

/** Finish all that is too late. @return when to look again, or NEVER */
apr_time_t staple_share_expire(engine_t *engine, apr_time_t now);

/** Take what is finished: a chain, in order, of the caller's. */
request_t *staple_share_take_finished(engine_t *engine);

/** The state of the share. A call that hangs counts as an error although it has
 * not returned. */
void staple_share_note_state(const engine_t *engine, apr_time_t now,
                             staple_share_state_t *state);

/* ---- share/thread.c: in the refresher's thread ---- */

/**
 * Make an engine and start its thread.
 * @param identity as of staple_share_set_identity; copied; NULL: a new one
 */
apr_status_t staple_share_launch(engine_t **engine, const backend_t *backend,
                                 const unsigned char *identity);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_SHARE_INT_H */
