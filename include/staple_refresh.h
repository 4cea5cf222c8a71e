/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_REFRESH_H
#define STAPLE_REFRESH_H

/*
 * The refresh: which certificates are due, what an outcome means, what is
 * stored and what is said about it. It runs in the refresher process, in
 * bounded steps, and is the only writer of the ring. What children have to know
 * of it (is there anything to wait for?) they read out of the ring.
 *
 * The rules it follows (when, how long, what replaces what) are values and
 * live in include/staple_rules.h; the words for what it leaves in a
 * certificate's state are in include/staple_words.h.
 */

#include <httpd.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_fetch.h"
#include "staple_share.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a refresh works with; read, and kept by reference. */
typedef struct staple_refresh_conf_t {
    server_rec *server;       /* whose error log is written */
    staple_cache_t *cache;
    const staple_cert_registry_t *registry; /* slots are assigned */
    staple_share_t *share;    /* NULL: this server is alone */
    const char *const *message_cmd; /* StapleMessageCmd: a program and its first
                                 arguments, up to NULL; or NULL */
    const char *response_directory; /* StapleResponseDirectory; NULL: none */
    int hears_pages;          /* StapleStatusActions: whether requests of other
                                 processes count */
    staple_fetch_conf_t fetch;
    /** Called in each step when all that lies in files was looked at and what
     * is due was sent off; in the first thread. */
    void (*looked)(void *baton);
    /** Called where work goes on for long, in the first thread. */
    void (*beat)(void *baton);
    /** Whether to leave what is being done and return; in the first thread. */
    int (*is_ending)(void *baton);
    /** Note whose bytes are parsed or judged from here on, by which thread (0
     * is the first): a slot, or -1. */
    void (*mark)(void *baton, int thread, int slot);
    /** Until when a certificate is to be left alone, because its bytes have
     * crashed a refresher again and again; 0: it is not. */
    apr_time_t (*set_aside)(void *baton, int slot, int *is_new);
    /** Whether a refresher has crashed while it parsed or judged something:
     * then only the first thread may do so. */
    int (*has_crashed)(void *baton);
    void *baton; /* of these */
} staple_refresh_conf_t;

typedef struct staple_refresh_t staple_refresh_t;

/* ----- the refresher ----- */

/**
 * Prepare the refresh: a matter of a moment, nothing is judged or asked yet.
 * @param p lives as long as the process
 */
apr_status_t staple_refresh_create(staple_refresh_t **refresh,
                                   const staple_refresh_conf_t *conf,
                                   apr_pool_t *p);

/**
 * Ask for what is due and take the steps that can be taken: for span at most,
 * and as long as there is something to wait for. The first one, however long
 * it takes, judges what was taken over from a ring file: what is true is
 * served, the rest is dropped.
 */
void staple_refresh_step(staple_refresh_t *refresh, apr_interval_time_t span);

/** Note that what is under way ends without an outcome: no attempt. Called
 * before the ring is saved for the last time. */
void staple_refresh_drop(staple_refresh_t *refresh);

/** End the programs that were started, within a tenth of a second. What is
 * under way otherwise ends with the process. */
void staple_refresh_end(staple_refresh_t *refresh);

/* ----- the warm-up: in any process ----- */

/** For how long after a generation's beginning a child waits for responses
 * before its first accept, and how far it has come; of one process. */
typedef struct staple_refresh_warmup_t {
    apr_interval_time_t usual;  /* for a certificate, */
    apr_interval_time_t longer; /* and for one that is must-staple, or whose
                                   response came from the file and is not
                                   verified yet */
    int has_looked;             /* whether the refresher has looked at files: a
                                   certificate without a responder is waited
                                   for until then */
    int settled;                /* certificates, from the first on, that are
                                   not waited for any more; 0 at first */
} staple_refresh_warmup_t;

/**
 * Whether the warm-up goes on: a certificate that is asked about has neither a
 * response nor a first failure, and its time is not over. Once it is over it
 * stays so.
 * @param born when the refresher that asks began: one that took the place of
 *        another has as much time as the first one had; 0 in a child: there is
 *        one clock for children, that of the generation, so one that is born
 *        later has nothing to wait for
 */
int staple_refresh_is_warming_up(const staple_cache_t *cache,
                                 const staple_cert_registry_t *registry,
                                 staple_refresh_warmup_t *warmup,
                                 apr_time_t born);

/**
 * The name of a must-staple certificate that nothing is served for, or NULL.
 * One that has expired is none: nobody is asked about it (RFC 9919 4.2).
 * @param is_successor whether the refresher that asks took the place of another
 *        one: what that one had no time to finish is not held against anybody
 */
const char *staple_refresh_missing(const staple_cache_t *cache,
                                   const staple_cert_registry_t *registry,
                                   int is_successor);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_REFRESH_H */
