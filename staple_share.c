/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The share: what the servers of a fleet know of each other's responses, by
 * way of any ap_socache provider.
 *
 * The one idea: a provider call may hang for ever (apr_memcache reads without
 * a timeout, and so in effect does apr_redis), so it is made on a thread that
 * can be given up. All that this thread touches belongs to an engine, which
 * has pools without a parent; whoever comes last, the thread or the leader,
 * leaves nothing that the other still needs. An engine whose thread hangs is
 * put on a list and joined when the thread has come back.
 *
 * Under the engine's mutex a request is in exactly one place: queued,
 * settling (a claim that waits for its second look), running, or done. The
 * leader may take a get or a claim away from any of them, the running one
 * included, and the thread then throws away what it brings; that is how each
 * is answered exactly once and never late. A put belongs to the thread as
 * soon as it runs. The mutex is never held during a provider call.
 */

#include "staple_share.h"
#include "staple_share_int.h"

#include <stdlib.h>
#include <string.h>

#include <ap_provider.h>
#include <ap_socache.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#define NEVER APR_INT64_MAX

/* How long a stop waits for the thread. */
#define STOP_PATIENCE apr_time_from_msec(100)

/* What is kept of memory that a large answer took. */
#define SCRATCH_KEPT ((apr_size_t)256 * 1024)

/* memcached reads more than 30 days as a date. */
#define EXPIRY_MAX apr_time_from_sec((apr_time_t)29 * 86400)

/* Providers take whole seconds and round down. */
#define EXPIRY_MIN apr_time_from_sec(1)

/* What every value starts with. */
#define HEAD_LEN 8

_Static_assert(STAPLE_SHARE_CLAIM_LEN
               == HEAD_LEN + STAPLE_SHARE_IDENTITY_LEN,
               "a claim is a head and an identity");

typedef enum { GET, CLAIM, PUT } kind_e;

typedef struct request_t {
    struct request_t *next;
    kind_e kind;
    unsigned char key[STAPLE_SHARE_KEY_LEN];
    apr_time_t deadline;         /* when it is too late; put: NEVER */
    staple_share_done_fn *done;  /* get, claim */
    void *baton;
    staple_share_answer_t answer; /* when done */
    unsigned char *der;          /* that answer.der points to; owned */
    apr_interval_time_t span;    /* claim */
    int is_written;              /* claim: to be looked at once more ... */
    apr_time_t ready_at;         /* ... and when */
    apr_time_t expiry;           /* put */
    apr_size_t len;              /* put: bytes of record */
    unsigned char record[];
} request_t;

/* First in, first out. */
typedef struct list_t {
    request_t *first;
    request_t *last; /* if there is a first */
    int count;
} list_t;

/* A request as the thread works on it without the mutex: input copied from
 * the request, which the leader may take away, and what came of it. */
typedef struct call_t {
    kind_e kind;
    unsigned char key[STAPLE_SHARE_KEY_LEN];
    apr_interval_time_t span;
    int is_written;
    apr_time_t expiry;
    unsigned char *record; /* put: stays with the thread */
    apr_size_t len;
    staple_share_answer_t answer;
    unsigned char *der;
    int is_odd;            /* what was found is none of ours */
    apr_status_t health;   /* APR_SUCCESS: the provider works; APR_NOTFOUND:
                              cannot tell; else what failed */
} call_t;

typedef struct engine_t {
    apr_pool_t *pool;     /* of all this; has no parent */
    apr_pool_t *scratch;  /* thread only; has no parent */
    apr_thread_t *thread;
    const ap_socache_provider_t *provider;
    ap_socache_instance_t *instance;
    server_rec *server;
    apr_global_mutex_t *lock; /* around provider calls, or NULL */
    unsigned char claim[STAPLE_SHARE_CLAIM_LEN]; /* the bytes of our claims */
    unsigned char buf[STAPLE_SHARE_RECORD_MAX];  /* thread only */
    struct engine_t *next; /* left behind, too; leader only */

    apr_thread_mutex_t *mutex; /* guards what follows */
    apr_thread_cond_t *work;   /* the thread waits for it */
    apr_thread_cond_t *done;   /* the leader waits for it */
    int is_stopped;
    int has_ended;        /* the thread is through with all but its return */
    list_t queued;
    list_t settling;
    list_t finished;
    request_t *running;   /* NULL: none, or taken away by the leader */
    apr_time_t began;     /* of the running call; 0: none is made */
    apr_size_t bytes;     /* of records in queued */
    int failing;          /* errors in a row */
    apr_time_t retry_at;  /* the end of a pause */
    staple_share_state_t state; /* but for is_slow and is_silent */
} engine_t;

struct staple_share_t {
    const char *name;
    const ap_socache_provider_t *provider;
    ap_socache_instance_t *instance;
    server_rec *server;
    apr_global_mutex_t *lock;
    const unsigned char *identity; /* NULL: each start has its own */
    engine_t *engine;     /* while started */
    engine_t *left;       /* threads in a call that has not returned */
    int owed;             /* callbacks */
    staple_share_state_t state; /* while not started */
};

static void append(list_t *list, request_t *request)
{
    request->next = NULL;
    *(list->first ? &list->last->next : &list->first) = request;
    list->last = request;
    list->count++;
}

/* Take the first one off; NULL: there is none. */
static request_t *shift(list_t *list)
{
    request_t *request = list->first;

    if (request) {
        list->first = request->next;
        list->count--;
    }
    return request;
}

/* Take all at once. */
static list_t take_list(list_t *list)
{
    list_t all = *list;

    list->first = NULL;
    list->count = 0;
    return all;
}

/* ----- keys and records ----- */

static void make_key(unsigned char *key, const unsigned char *id, char kind)
{
    unsigned char *end = key + STAPLE_SHARE_ID_LEN;

    memcpy(key, id, STAPLE_SHARE_ID_LEN);
    memcpy(end, "staple", 6);
    end[6] = STAPLE_SHARE_VERSION;
    end[7] = (unsigned char)kind;
}

static void write_number(unsigned char *to, apr_uint64_t n, int bytes)
{
    while (bytes--) {
        to[bytes] = (unsigned char)(n & 0xff);
        n >>= 8;
    }
}

static apr_uint64_t read_number(const unsigned char *from, int bytes)
{
    apr_uint64_t n = 0;

    while (bytes--) {
        n = n << 8 | *from++;
    }
    return n;
}

static void make_head(unsigned char *head, char kind)
{
    memcpy(head, "STP", 3);
    head[3] = (unsigned char)kind;
    head[4] = STAPLE_SHARE_VERSION;
    memset(head + 5, 0, 3);
}

apr_size_t staple_share_pack(unsigned char *buf, const unsigned char *der,
                             apr_size_t der_len, apr_time_t fetched_at)
{
    if (!der_len || der_len > STAPLE_SHARE_DER_MAX || fetched_at <= 0) {
        return 0;
    }
    make_head(buf, 'R');
    write_number(buf + HEAD_LEN, der_len, 4);
    write_number(buf + 12, (apr_uint64_t)fetched_at, 8);
    memcpy(buf + STAPLE_SHARE_HEAD_LEN, der, der_len);
    return STAPLE_SHARE_HEAD_LEN + der_len;
}

int staple_share_unpack(staple_share_answer_t *answer,
                        const unsigned char *bytes, apr_size_t len)
{
    unsigned char head[HEAD_LEN];
    apr_uint64_t fetched_at;

    memset(answer, 0, sizeof(*answer));
    answer->outcome = STAPLE_SHARE_MISSING;
    make_head(head, 'R');
    if (len <= STAPLE_SHARE_HEAD_LEN || len > STAPLE_SHARE_RECORD_MAX
        || memcmp(bytes, head, sizeof(head))
        || read_number(bytes + HEAD_LEN, 4) != len - STAPLE_SHARE_HEAD_LEN) {
        return 0;
    }
    fetched_at = read_number(bytes + 12, 8);
    if (!fetched_at || fetched_at > APR_INT64_MAX) {
        return 0;
    }
    answer->outcome = STAPLE_SHARE_FOUND;
    answer->der = bytes + STAPLE_SHARE_HEAD_LEN;
    answer->der_len = len - STAPLE_SHARE_HEAD_LEN;
    answer->fetched_at = (apr_time_t)fetched_at;
    return 1;
}

/* ----- provider calls: in the thread, without the mutex ----- */

static apr_status_t look(engine_t *engine, const unsigned char *key,
                         unsigned int *len)
{
    apr_status_t rv = APR_SUCCESS;

    if (engine->lock && (rv = apr_global_mutex_lock(engine->lock)) != 0) {
        return rv;
    }
    *len = sizeof(engine->buf);
    rv = engine->provider->retrieve(engine->instance, engine->server, key,
                                    STAPLE_SHARE_KEY_LEN, engine->buf, len,
                                    engine->scratch);
    if (engine->lock) {
        apr_global_mutex_unlock(engine->lock);
    }
    return rv;
}

static apr_status_t store(engine_t *engine, const unsigned char *key,
                          unsigned char *bytes, apr_size_t len,
                          apr_time_t expiry)
{
    apr_status_t rv = APR_SUCCESS;

    if (engine->lock && (rv = apr_global_mutex_lock(engine->lock)) != 0) {
        return rv;
    }
    rv = engine->provider->store(engine->instance, engine->server, key,
                                 STAPLE_SHARE_KEY_LEN, expiry, bytes,
                                 (unsigned int)len, engine->scratch);
    if (engine->lock) {
        apr_global_mutex_unlock(engine->lock);
    }
    /* What redis and memcache say when a server is down. */
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_EGENERAL : rv;
}

/* Too large for our buffer or for the provider: says nothing of its health. */
static int is_size_refused(apr_status_t rv)
{
    return APR_STATUS_IS_ENOSPC(rv) || APR_STATUS_IS_ENOMEM(rv);
}

static void fetch_response(engine_t *engine, call_t *call)
{
    unsigned int len;
    apr_status_t rv = look(engine, call->key, &len);

    if (rv && !is_size_refused(rv)) {
        call->health = rv;
        if (APR_STATUS_IS_NOTFOUND(rv)) {
            call->answer.outcome = STAPLE_SHARE_MISSING;
        }
        return;
    }
    call->health = rv ? APR_NOTFOUND : APR_SUCCESS;
    if (rv || !staple_share_unpack(&call->answer, engine->buf, len)) {
        call->is_odd = 1;
        call->answer.outcome = STAPLE_SHARE_MISSING;
        return;
    }
    call->der = malloc(call->answer.der_len);
    if (!call->der) {
        memset(&call->answer, 0, sizeof(call->answer));
        return;
    }
    memcpy(call->der, call->answer.der, call->answer.der_len);
    call->answer.der = call->der;
}

/* Whose claim is in the buffer; what is no claim does not count as one. */
static staple_share_outcome_e read_claim(const engine_t *engine,
                                         unsigned int len)
{
    if (len != STAPLE_SHARE_CLAIM_LEN
        || memcmp(engine->buf, engine->claim, HEAD_LEN)) {
        return STAPLE_SHARE_MISSING;
    }
    return memcmp(engine->buf, engine->claim, STAPLE_SHARE_CLAIM_LEN)
           ? STAPLE_SHARE_TAKEN : STAPLE_SHARE_MINE;
}

/* First round: look, and write where there is nothing. Second round: see
 * whose claim has remained. */
static void make_claim(engine_t *engine, call_t *call)
{
    unsigned int len = 0;
    apr_status_t rv = look(engine, call->key, &len);

    if (rv && !is_size_refused(rv) && !APR_STATUS_IS_NOTFOUND(rv)) {
        call->health = rv;
        return;
    }
    call->health = rv ? APR_NOTFOUND : APR_SUCCESS;
    call->answer.outcome = rv ? STAPLE_SHARE_MISSING : read_claim(engine, len);
    if (call->answer.outcome != STAPLE_SHARE_MISSING) {
        return;
    }
    call->answer.outcome = STAPLE_SHARE_NO_ANSWER;
    if (call->is_written) { /* written but not kept */
        return;
    }
    rv = store(engine, call->key, engine->claim, STAPLE_SHARE_CLAIM_LEN,
               apr_time_now() + call->span + EXPIRY_MIN / 2);
    call->health = is_size_refused(rv) ? APR_NOTFOUND : rv;
    call->is_written = !rv;
}

static void give_response(engine_t *engine, call_t *call)
{
    apr_time_t now = apr_time_now();
    apr_time_t expiry = call->expiry < now + EXPIRY_MAX ? call->expiry
                                                        : now + EXPIRY_MAX;
    apr_status_t rv;

    call->health = APR_NOTFOUND;
    /* mod_socache_redis takes an expiry in the past for one far ahead. */
    if (expiry < now + EXPIRY_MIN) {
        return;
    }
    rv = store(engine, call->key, call->record, call->len, expiry);
    call->health = is_size_refused(rv) ? APR_NOTFOUND : rv;
}

/* ----- the engine's inside: under the mutex ----- */

static int is_stuck(const engine_t *engine, apr_time_t now)
{
    return engine->began && now - engine->began > STAPLE_SHARE_STUCK;
}

static int is_slow(const engine_t *engine, apr_time_t now)
{
    return is_stuck(engine, now) || now < engine->retry_at;
}

static int is_silent(const engine_t *engine, apr_time_t now)
{
    return is_stuck(engine, now) || engine->failing >= STAPLE_SHARE_FAILING;
}

/* How the share fares. A call that hangs counts as an error before it has
 * returned, which it may never do. */
static void note_state(const engine_t *engine, apr_time_t now,
                       staple_share_state_t *state)
{
    *state = engine->state;
    state->is_slow = is_slow(engine, now);
    state->is_silent = is_silent(engine, now);
    if (is_stuck(engine, now)) {
        state->errors++;
        state->last_error = engine->began + STAPLE_SHARE_STUCK;
        state->last_status = APR_TIMEUP;
    }
}

static void finish(engine_t *engine, request_t *request)
{
    if (request->answer.outcome == STAPLE_SHARE_NO_ANSWER) {
        engine->state.unanswered++;
    }
    append(&engine->finished, request);
    apr_thread_cond_signal(engine->done);
}

static void enqueue(engine_t *engine, request_t *request)
{
    engine->bytes += request->len;
    append(&engine->queued, request);
    apr_thread_cond_signal(engine->work);
}

static request_t *dequeue(engine_t *engine)
{
    request_t *request = shift(&engine->queued);

    if (request) {
        engine->bytes -= request->len;
    }
    return request;
}

/* Take the running request from the thread, unless it is a put. */
static void take_running(engine_t *engine)
{
    if (engine->running && engine->running->kind != PUT) {
        finish(engine, engine->running);
        engine->running = NULL;
    }
}

static void drop_all(engine_t *engine)
{
    request_t *request;

    while ((request = dequeue(engine))) {
        if (request->kind == PUT) {
            engine->state.dropped++;
            free(request);
        }
        else {
            finish(engine, request);
        }
    }
    while ((request = shift(&engine->settling))) {
        finish(engine, request);
    }
}

static apr_time_t earlier(apr_time_t a, apr_time_t b)
{
    return a < b ? a : b;
}

/* Finish what is too late in a list; when the next one will be. */
static apr_time_t expire_list(engine_t *engine, list_t *list, apr_time_t now)
{
    list_t all = take_list(list);
    apr_time_t next = NEVER;
    request_t *request;

    while ((request = shift(&all))) {
        if (request->deadline <= now) {
            finish(engine, request);
            continue;
        }
        append(list, request);
        next = earlier(next, request->deadline);
    }
    return next;
}

/* The same for the call under way; it may get stuck, too. */
static apr_time_t expire_running(engine_t *engine, apr_time_t now)
{
    apr_time_t next = NEVER;

    if (engine->running && engine->running->deadline <= now) {
        take_running(engine);
    }
    if (engine->running) {
        next = engine->running->deadline;
    }
    return engine->began
           ? earlier(next, engine->began + STAPLE_SHARE_STUCK + 1) : next;
}

/* Finish all that is too late; when to look again. */
static apr_time_t expire(engine_t *engine, apr_time_t now)
{
    if (is_stuck(engine, now)) {
        take_running(engine);
        drop_all(engine);
        return NEVER;
    }
    return earlier(expire_running(engine, now),
                   earlier(expire_list(engine, &engine->queued, now),
                           expire_list(engine, &engine->settling, now)));
}

/* ----- the thread ----- */

/* Wait for something to do; NULL: stopped. */
static request_t *next_request(engine_t *engine)
{
    while (!engine->is_stopped) {
        const request_t *settling = engine->settling.first;
        apr_time_t now = apr_time_now();

        if (settling && settling->ready_at <= now) {
            return shift(&engine->settling);
        }
        if (engine->queued.first) {
            return dequeue(engine);
        }
        if (settling) {
            apr_thread_cond_timedwait(engine->work, engine->mutex,
                                      settling->ready_at - now);
        }
        else {
            apr_thread_cond_wait(engine->work, engine->mutex);
        }
    }
    return NULL;
}

static void note_trouble(engine_t *engine, apr_status_t status, apr_time_t now)
{
    int over = ++engine->failing - STAPLE_SHARE_FAILING;
    apr_interval_time_t pause = STAPLE_SHARE_PAUSE_MAX;

    engine->state.errors++;
    engine->state.last_error = now;
    engine->state.last_status = status;
    if (over < 0) {
        return;
    }
    if (over < 6) { /* 2^6 of the shortest is more than the longest */
        pause = STAPLE_SHARE_PAUSE_MIN << over;
    }
    engine->retry_at = now + pause;
    drop_all(engine);
}

/* A miss proves nothing: clients of dead servers report one. So it neither
 * ends a row of errors nor adds to it. */
static void note_health(engine_t *engine, const call_t *call, apr_time_t now)
{
    if (is_stuck(engine, now)) {
        note_trouble(engine, APR_TIMEUP, now);
    }
    else if (call->health == APR_SUCCESS) {
        engine->failing = 0;
    }
    else if (!APR_STATUS_IS_NOTFOUND(call->health)) {
        note_trouble(engine, call->health, now);
    }
}

static void count(staple_share_state_t *state, const call_t *call)
{
    if (call->kind == PUT && call->health) {
        state->dropped++;
    }
    else if (call->kind == PUT) {
        state->stored++;
    }
    else if (call->is_odd) {
        state->odd++;
    }
    else if (call->answer.outcome == STAPLE_SHARE_FOUND) {
        state->hits++;
    }
    else if (call->answer.outcome == STAPLE_SHARE_MISSING) {
        state->misses++;
    }
}

/* Bring home what a call came to, if its request is still wanted. */
static void conclude(engine_t *engine, call_t *call, request_t *request,
                     apr_time_t now, apr_interval_time_t took)
{
    if (call->kind == PUT) {
        free(request);
    }
    else if (!engine->running) {
        free(call->der);
    }
    else if (call->is_written && !request->is_written
             && !is_slow(engine, now)) {
        request->is_written = 1;
        /* Who looked before we wrote may write as late as this. */
        request->ready_at = now + STAPLE_SHARE_SETTLE + took;
        append(&engine->settling, request);
    }
    else {
        request->answer = call->answer;
        request->der = call->der;
        finish(engine, request);
    }
    engine->running = NULL;
}

static void make_call(engine_t *engine, call_t *call)
{
    switch (call->kind) {
    case GET:
        fetch_response(engine, call);
        break;
    case CLAIM:
        make_claim(engine, call);
        break;
    case PUT:
        give_response(engine, call);
        break;
    }
    apr_pool_clear(engine->scratch);
}

static void serve(engine_t *engine, request_t *request)
{
    apr_interval_time_t took;
    apr_time_t now;
    call_t call;

    memset(&call, 0, sizeof(call));
    call.kind = request->kind;
    memcpy(call.key, request->key, sizeof(call.key));
    call.span = request->span;
    call.is_written = request->is_written;
    call.expiry = request->expiry;
    call.record = request->record;
    call.len = request->len;
    engine->running = request;
    engine->began = apr_time_now();
    apr_thread_mutex_unlock(engine->mutex);

    make_call(engine, &call);

    apr_thread_mutex_lock(engine->mutex);
    now = apr_time_now();
    took = now - engine->began;
    note_health(engine, &call, now);
    engine->began = 0;
    count(&engine->state, &call);
    conclude(engine, &call, request, now, took);
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    engine_t *engine = data;
    request_t *request;

    (void)thread;
    apr_setup_signal_thread(); /* the server's signals are not for us */
    apr_thread_mutex_lock(engine->mutex);
    while ((request = next_request(engine))) {
        serve(engine, request);
    }
    engine->has_ended = 1;
    apr_thread_cond_signal(engine->done);
    apr_thread_mutex_unlock(engine->mutex);
    return NULL;
}

/* ----- an engine's life: in the leader's thread ----- */

/* A pool that no other pool's end destroys. */
static apr_status_t make_pool(apr_pool_t **p, const char *tag)
{
    apr_status_t rv = apr_pool_create_unmanaged_ex(p, NULL, NULL);

    if (rv == APR_SUCCESS) {
        apr_pool_tag(*p, tag);
    }
    return rv;
}

static void free_engine(engine_t *engine)
{
    if (engine->scratch) {
        apr_pool_destroy(engine->scratch);
    }
    apr_pool_destroy(engine->pool);
}

static apr_status_t sign_claims(engine_t *engine,
                                const unsigned char *identity)
{
    unsigned char *end = engine->claim + HEAD_LEN;

    make_head(engine->claim, 'C');
    if (!identity) {
        return apr_generate_random_bytes(end, STAPLE_SHARE_IDENTITY_LEN);
    }
    memcpy(end, identity, STAPLE_SHARE_IDENTITY_LEN);
    return APR_SUCCESS;
}

static apr_status_t launch(engine_t *engine)
{
    apr_pool_t *p = engine->pool;
    apr_status_t rv = make_pool(&engine->scratch, "staple_share_scratch");

    if (rv) {
        return rv;
    }
    apr_allocator_max_free_set(apr_pool_allocator_get(engine->scratch),
                               SCRATCH_KEPT);
    rv = apr_thread_mutex_create(&engine->mutex, APR_THREAD_MUTEX_DEFAULT, p);
    if (!rv) {
        rv = apr_thread_cond_create(&engine->work, p);
    }
    if (!rv) {
        rv = apr_thread_cond_create(&engine->done, p);
    }
    return rv ? rv : apr_thread_create(&engine->thread, NULL, work, engine, p);
}

static void join(engine_t *engine)
{
    apr_status_t ignored;

    apr_thread_join(&ignored, engine->thread);
    free_engine(engine);
}

/* Give back the engines whose threads have come home meanwhile. */
static void reap(staple_share_t *share)
{
    engine_t **link = &share->left;

    while (*link) {
        engine_t *engine = *link;
        int has_ended;

        apr_thread_mutex_lock(engine->mutex);
        has_ended = engine->has_ended;
        apr_thread_mutex_unlock(engine->mutex);
        if (!has_ended) {
            link = &engine->next;
            continue;
        }
        *link = engine->next;
        join(engine);
    }
}

/* Ask the thread to end and wait a little; whether it has. */
static int await_end(engine_t *engine)
{
    apr_time_t deadline = apr_time_now() + STOP_PATIENCE;
    apr_time_t now;

    apr_thread_cond_signal(engine->work);
    while (!engine->has_ended && (now = apr_time_now()) < deadline) {
        apr_thread_cond_timedwait(engine->done, engine->mutex, deadline - now);
    }
    return engine->has_ended;
}

/* Call back, without the mutex: callbacks make new requests. */
static void deliver(staple_share_t *share, list_t list)
{
    request_t *request;

    while ((request = shift(&list))) {
        share->owed--;
        request->done(request->baton, &request->answer);
        free(request->der);
        free(request);
    }
}

/* ----- requests: in the leader's thread ----- */

static request_t *make_request(kind_e kind, const unsigned char *id,
                               apr_size_t len)
{
    request_t *request = calloc(1, sizeof(*request) + len);

    if (request) {
        request->kind = kind;
        request->len = len;
        make_key(request->key, id, kind == CLAIM ? 'c' : 'r');
    }
    return request;
}

/* Queue a get or a claim, or have it answered by the next run. */
static void submit(staple_share_t *share, request_t *request,
                   apr_interval_time_t patience, staple_share_done_fn *done,
                   void *baton)
{
    engine_t *engine = share->engine;
    apr_time_t now = apr_time_now();

    request->done = done;
    request->baton = baton;
    request->deadline = now + patience;
    share->owed++;
    apr_thread_mutex_lock(engine->mutex);
    if (is_slow(engine, now)
        || engine->queued.count >= STAPLE_SHARE_QUEUE_MAX) {
        finish(engine, request);
    }
    else {
        enqueue(engine, request);
    }
    apr_thread_mutex_unlock(engine->mutex);
}

apr_status_t staple_share_get(staple_share_t *share, const unsigned char *id,
                              apr_interval_time_t patience,
                              staple_share_done_fn *done, void *baton)
{
    request_t *request;

    if (!share->engine) {
        return APR_EINVAL;
    }
    request = make_request(GET, id, 0);
    if (!request) {
        return APR_ENOMEM;
    }
    submit(share, request, patience, done, baton);
    return APR_SUCCESS;
}

apr_status_t staple_share_claim(staple_share_t *share, const unsigned char *id,
                                apr_interval_time_t span,
                                apr_interval_time_t patience,
                                staple_share_done_fn *done, void *baton)
{
    request_t *request;

    if (!share->engine) {
        return APR_EINVAL;
    }
    request = make_request(CLAIM, id, 0);
    if (!request) {
        return APR_ENOMEM;
    }
    request->span = span > EXPIRY_MIN ? span : EXPIRY_MIN;
    submit(share, request, patience, done, baton);
    return APR_SUCCESS;
}

void staple_share_put(staple_share_t *share, const unsigned char *id,
                      const unsigned char *der, apr_size_t der_len,
                      apr_time_t fetched_at, apr_time_t expiry)
{
    engine_t *engine = share->engine;
    request_t *request;

    if (!engine || der_len > STAPLE_SHARE_DER_MAX) {
        return;
    }
    request = make_request(PUT, id, STAPLE_SHARE_HEAD_LEN + der_len);
    if (!request) {
        return;
    }
    request->expiry = expiry;
    request->deadline = NEVER;
    apr_thread_mutex_lock(engine->mutex);
    if (!staple_share_pack(request->record, der, der_len, fetched_at)
        || is_slow(engine, apr_time_now())
        || engine->queued.count >= STAPLE_SHARE_QUEUE_MAX
        || engine->bytes + request->len > STAPLE_SHARE_QUEUE_BYTES) {
        engine->state.dropped++;
        free(request);
    }
    else {
        enqueue(engine, request);
    }
    apr_thread_mutex_unlock(engine->mutex);
}

int staple_share_run(staple_share_t *share, apr_interval_time_t span)
{
    engine_t *engine = share->engine;
    apr_time_t now = apr_time_now();
    apr_time_t end = now + span;
    list_t list;

    if (!engine) {
        return 0;
    }
    apr_thread_mutex_lock(engine->mutex);
    for (;;) {
        apr_time_t next = earlier(expire(engine, now), end);

        if (engine->finished.first || !share->owed || now >= end) {
            break;
        }
        if (next > now) {
            apr_thread_cond_timedwait(engine->done, engine->mutex, next - now);
        }
        now = apr_time_now();
    }
    list = take_list(&engine->finished);
    apr_thread_mutex_unlock(engine->mutex);
    deliver(share, list);
    return share->owed;
}

/* ----- the share's life ----- */

static const char *describe_unknown(const char *name, apr_pool_t *p)
{
    const apr_array_header_t *names
        = ap_list_provider_names(p, AP_SOCACHE_PROVIDER_GROUP,
                                 AP_SOCACHE_PROVIDER_VERSION);
    const char *known = apr_array_pstrcat(p, names, ',');

    return apr_psprintf(p, "there is no socache provider '%s' (known: %s); "
                        "perhaps mod_socache_%s is to be loaded", name,
                        *known ? known : "none", name);
}

const char *staple_share_create(staple_share_t **sharep, const char *spec,
                                apr_pool_t *p, apr_pool_t *ptemp)
{
    staple_share_t *share = apr_pcalloc(p, sizeof(*share));
    const char *colon = strchr(spec, ':');
    const char *error;

    share->name = colon ? apr_pstrmemdup(p, spec, (apr_size_t)(colon - spec))
                        : apr_pstrdup(p, spec);
    share->provider = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP,
                                         share->name,
                                         AP_SOCACHE_PROVIDER_VERSION);
    if (!share->provider) {
        return describe_unknown(share->name, p);
    }
    error = share->provider->create(&share->instance, colon ? colon + 1 : NULL,
                                    ptemp, p);
    if (error) {
        return apr_psprintf(p, "the socache provider '%s' says: %s",
                            share->name, error);
    }
    *sharep = share;
    return NULL;
}

const char *staple_share_name(const staple_share_t *share)
{
    return share->name;
}

int staple_share_needs_lock(const staple_share_t *share)
{
    return (share->provider->flags & AP_SOCACHE_FLAG_NOTMPSAFE) != 0;
}

apr_status_t staple_share_init(staple_share_t *share, server_rec *s,
                               apr_pool_t *p)
{
    struct ap_socache_hints hints;

    memset(&hints, 0, sizeof(hints));
    hints.avg_id_len = STAPLE_SHARE_KEY_LEN;
    hints.avg_obj_size = 2048;
    hints.expiry_interval = apr_time_from_sec(300);
    share->server = s;
    return share->provider->init(share->instance, STAPLE_SHARE_NAMESPACE,
                                 &hints, s, p);
}

void staple_share_set_identity(staple_share_t *share,
                               const unsigned char *identity)
{
    share->identity = identity;
}

void staple_share_set_lock(staple_share_t *share, apr_global_mutex_t *lock)
{
    share->lock = lock;
}

apr_status_t staple_share_start(staple_share_t *share)
{
    apr_pool_t *p;
    engine_t *engine;
    apr_status_t rv;

    reap(share);
    if (share->engine || (staple_share_needs_lock(share) && !share->lock)) {
        return APR_EINVAL;
    }
    rv = make_pool(&p, "staple_share");
    if (rv) {
        return rv;
    }
    engine = apr_pcalloc(p, sizeof(*engine));
    engine->pool = p;
    engine->provider = share->provider;
    engine->instance = share->instance;
    engine->server = share->server;
    engine->lock = share->lock;
    engine->state = share->state;
    rv = sign_claims(engine, share->identity);
    if (!rv) {
        rv = launch(engine);
    }
    if (rv) {
        free_engine(engine);
        return rv;
    }
    share->engine = engine;
    return APR_SUCCESS;
}

void staple_share_stop(staple_share_t *share)
{
    engine_t *engine = share->engine;
    list_t list;
    int has_ended;

    reap(share);
    if (!engine) {
        return;
    }
    apr_thread_mutex_lock(engine->mutex);
    engine->is_stopped = 1;
    take_running(engine);
    drop_all(engine);
    has_ended = await_end(engine);
    list = take_list(&engine->finished);
    note_state(engine, apr_time_now(), &share->state);
    apr_thread_mutex_unlock(engine->mutex);
    share->engine = NULL;
    if (has_ended) {
        join(engine);
    }
    else {
        engine->next = share->left;
        share->left = engine;
    }
    deliver(share, list);
}

void staple_share_state(staple_share_t *share, staple_share_state_t *state)
{
    engine_t *engine = share->engine;
    apr_time_t now = apr_time_now();

    if (!engine) {
        *state = share->state;
        return;
    }
    apr_thread_mutex_lock(engine->mutex);
    note_state(engine, now, state);
    apr_thread_mutex_unlock(engine->mutex);
}

int staple_share_left(const staple_share_t *share)
{
    const engine_t *engine;
    int n = 0;

    for (engine = share->left; engine; engine = engine->next) {
        n++;
    }
    return n;
}
