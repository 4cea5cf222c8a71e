/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_REFRESH_H
#define STAPLE_REFRESH_H

/*
 * The refresh: which certificates are due, what an outcome means, what is
 * stored and what is said about it. It runs in the watchdog's thread of the
 * one child that leads, in bounded steps, and is the only writer of the ring.
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
    staple_fetch_conf_t fetch;
} staple_refresh_conf_t;

typedef struct staple_refresh_t staple_refresh_t;

/**
 * Prepare the refresh of this child; cheap, no thread, no descriptor.
 * @param p lives as long as the child
 */
apr_status_t staple_refresh_create(staple_refresh_t **refresh,
                                   const staple_refresh_conf_t *conf,
                                   apr_pool_t *p);

/**
 * Judge what was taken over from a ring file, together with the other
 * children, before the first handshake: what is true is served, the rest is
 * dropped. Returns when nothing is pending any more, or after `patience`.
 */
void staple_refresh_confirm(staple_refresh_t *refresh,
                            apr_interval_time_t patience);

/**
 * Hold a starting child back while certificates have neither a response nor a
 * first failure: for `patience`, or for `must_patience` while one of them is
 * must-staple. Returns at once when there is nothing to wait for. The
 * watchdog's threads have to be there already.
 */
void staple_refresh_await(const staple_refresh_t *refresh,
                          apr_interval_time_t patience,
                          apr_interval_time_t must_patience);

/** The name of a must-staple certificate that nothing is served for, or NULL;
 * in child_init. */
const char *staple_refresh_missing(const staple_refresh_t *refresh);

/**
 * Start to lead: plan every certificate and make the fetch engine. Called in
 * the thread that will call staple_refresh_step.
 */
apr_status_t staple_refresh_lead(staple_refresh_t *refresh);

/** Ask for what is due and take the steps that can be taken, for span at
 * most. */
void staple_refresh_step(staple_refresh_t *refresh, apr_interval_time_t span);

/** End a running step at once, and every later one; from any thread. */
void staple_refresh_stop(staple_refresh_t *refresh);

/** Drop what is under way and stop leading; in the leading thread. */
void staple_refresh_resign(staple_refresh_t *refresh);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_REFRESH_H */
