/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SHARE_H
#define STAPLE_SHARE_H

/*
 * The fleet: any ap_socache provider (redis, memcache, dc, dbm ...) as a
 * second level behind the ring, so that many servers ask a responder once.
 *
 * The one idea: a call of a provider may block for any time, and nobody waits
 * for it. Providers are called on a thread of the share's own, in the
 * refresher, whose first thread hands over requests and collects answers. A
 * call that is late or fails, a full queue, and an entry that this module did
 * not write all count as "no answer". So the share may save a request to a
 * responder, and it never delays one.
 *
 *   first thread                           the share's thread
 *     get, claim, put  -> bounded queue ->   provider's retrieve, store
 *     run, callbacks   <- answers       <-
 *
 * What comes from a share is not trusted. The bytes are whole and of a
 * sensible length; whether they are a true response for the certificate is
 * for the caller to judge, as with those of a responder.
 *
 * This room never logs (providers do, in their own words): what there is to
 * say is in staple_share_state_t. The parent calls staple_share_create, _init
 * and _set_identity; the rest is the refresher's, in its first thread.
 */

#include <httpd.h>
#include <apr_pools.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The longest response that is shared, in bytes of DER. mod_socache_dbm
 * itself takes less than 900. */
#define STAPLE_SHARE_DER_MAX ((apr_size_t)64 * 1024)

/** A share of this configuration. */
typedef struct staple_share_t staple_share_t;

/* ----- start of the server ----- */

/**
 * Look a provider up and have it read its argument; touches no network.
 * @param spec `PROVIDER` or `PROVIDER:ARGS`, as mod_ssl has it
 * @param p outlives every child's use of the share: pconf
 * @return NULL, or what is wrong, in words: the provider and those that are
 *         loaded, or what the provider says of its argument
 */
const char *staple_share_create(staple_share_t **share, const char *spec,
                                apr_pool_t *p, apr_pool_t *ptemp);

/** The provider's name as configured; for messages. */
const char *staple_share_name(const staple_share_t *share);

/**
 * Let the provider prepare itself, in post_config but not in the dry run.
 * The provider is never told to destroy what it keeps: mod_socache_dbm would
 * delete the file that the fleet shares, and a child's end would do it too.
 * @param s whose error log the provider writes
 * @param p outlives every child's use of the share: pconf
 */
apr_status_t staple_share_init(staple_share_t *share, server_rec *s,
                               apr_pool_t *p);

/** Bytes that tell a server from all others of the fleet. */
#define STAPLE_SHARE_IDENTITY_LEN 16

/**
 * Say who this server is, so that a claim is its own whichever process made
 * it, before whichever restart: who refreshes next does not wait for a question
 * that ended with a killed process. Without it, each start is somebody else.
 * @param identity STAPLE_SHARE_IDENTITY_LEN random bytes that outlive the share
 */
void staple_share_set_identity(staple_share_t *share,
                               const unsigned char *identity);

/* ----- the refresher ----- */

/**
 * Start the share's thread, once. It runs until the process ends: a refresher
 * ends by _exit, and there is nothing that the thread would have to finish.
 * @return APR_SUCCESS, or why there is no thread: the share is then as one
 *         that does not answer
 */
apr_status_t staple_share_start(staple_share_t *share);

typedef enum {
    STAPLE_SHARE_NO_ANSWER, /* too late, in trouble: go on without */
    STAPLE_SHARE_MISSING,   /* get: there is none, or it makes no sense */
    STAPLE_SHARE_FOUND,     /* get: here it is, to be verified */
    STAPLE_SHARE_MINE,      /* claim: nobody else is asking */
    STAPLE_SHARE_TAKEN      /* claim: another server is asking */
} staple_share_outcome_e;

/** What a get or a claim came to; valid during the callback only. */
typedef struct staple_share_answer_t {
    staple_share_outcome_e outcome;
    const unsigned char *der; /* FOUND: the response, else NULL */
    apr_size_t der_len;       /* 1 .. STAPLE_SHARE_DER_MAX, or 0 */
    apr_time_t fetched_at;    /* FOUND: when its server fetched it, by the
                                 clock of that server */
} staple_share_answer_t;

/** May call get, claim and put, but not run. */
typedef void staple_share_done_fn(void *baton,
                                  const staple_share_answer_t *answer);

/**
 * Look for a certificate's response.
 * @param id STAPLE_ID_LEN bytes; copied
 * @param patience after how long nothing counts as NO_ANSWER
 * @param done called exactly once, from staple_share_run, if the return
 *        value is APR_SUCCESS; never if it is not
 * @return APR_SUCCESS; APR_EINVAL: not started; APR_ENOMEM
 */
apr_status_t staple_share_get(staple_share_t *share, const unsigned char *id,
                              apr_interval_time_t patience,
                              staple_share_done_fn *done, void *baton);

/**
 * Say to the fleet that this server is about to ask for a certificate's
 * response, unless another one has said so. Providers cannot store only what
 * is not there, so a claim is looked for, written, and looked at once more
 * after STAPLE_SHARE_SETTLE: of those who wrote at the same time, the last
 * one's stands, and only that server reads its own. Best effort, and advice
 * only: whoever gets TAKEN looks for a response every now and then, and asks
 * after `span` at the latest, whatever the share says by then.
 *
 * A claim is not taken back: it ends by itself. It should outlive one
 * exchange with a responder. One of this server's own is MINE again.
 *
 * @param span for how long it stands, in whole seconds; 1 s at least
 * @param patience as for get; less than STAPLE_SHARE_SETTLE is too little
 * @param done as for get: MINE, TAKEN or NO_ANSWER
 */
apr_status_t staple_share_claim(staple_share_t *share, const unsigned char *id,
                                apr_interval_time_t span,
                                apr_interval_time_t patience,
                                staple_share_done_fn *done, void *baton);

/** How long a claim is left to settle, and as long again as the provider took
 * to look and to write. */
#define STAPLE_SHARE_SETTLE apr_time_from_msec(40)

/**
 * Give a verified response to the fleet: copied, stored as soon as the
 * provider gets to it, and dropped where the share is in trouble, the queue is
 * full or less than a second of its life is left.
 * @param fetched_at when it was fetched from the responder
 * @param expiry when the share may forget it; 29 days ahead at most, for
 *        memcached takes more for a date
 */
void staple_share_put(staple_share_t *share, const unsigned char *id,
                      const unsigned char *der, apr_size_t der_len,
                      apr_time_t fetched_at, apr_time_t expiry);

/**
 * Call back for what has been answered or is too late; where that is nothing
 * yet, wait for it up to span.
 * @param span 0: do not wait
 * @return how many callbacks are still owed
 */
int staple_share_run(staple_share_t *share, apr_interval_time_t span);

/** How a share fares in this process since it was started. */
typedef struct staple_share_state_t {
    apr_uint64_t hits;     /* gets that found a response */
    apr_uint64_t misses;   /* gets that found none */
    apr_uint64_t foreign;  /* gets that found what this module did not write */
    apr_uint64_t stored;   /* puts that the provider took */
    apr_uint64_t dropped;  /* puts that were not made, or refused for size */
    apr_uint64_t unanswered; /* gets and claims that ended as NO_ANSWER */
    apr_uint64_t errors;   /* provider calls that failed or took too long */
    apr_time_t last_error; /* 0: none */
    apr_status_t last_status; /* of the last error; APR_TIMEUP: too long */
    int is_slow;           /* whether it is being left alone: a call hangs, or
                              several failed in a row and a pause is made */
    int is_silent;         /* whether it does not answer: the same, but until a
                              call works, whatever pauses end meanwhile */
} staple_share_state_t;

void staple_share_state(staple_share_t *share, staple_share_state_t *state);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_SHARE_H */
