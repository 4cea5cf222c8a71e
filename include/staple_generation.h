/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_GENERATION_H
#define STAPLE_GENERATION_H

/*
 * What a start or restart builds in the parent: the ring of the generation that
 * begins, seeded from the one that ends, and what is said about it. And who
 * may write that ring: one process, the refresher, beside whom all others only
 * read. The order of calls, by process:
 *
 *   parent     staple_generation_make_ring       once per post_config
 *              staple_generation_check_file      in its monitor hook
 *   refresher  staple_generation_begin_writing   right after its fork
 *              staple_generation_end_writing     at its orderly end
 *   children   staple_generation_only_read       in child_init
 */

#include <httpd.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_config.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Log what is known of the certificates before anybody is asked: how many
 * have no staple and why, and which of those are must-staple.
 * @return how many certificates are must-staple and can never have a staple
 */
int staple_generation_log_certs(const staple_cert_registry_t *registry,
                                const server_rec *s, apr_pool_t *ptemp);

/**
 * Make the ring for the certificates that have something to staple, give each
 * its slot and log how it went. The mapping of the generation before, which
 * nothing refers to after this, is given back; where no certificate needs a
 * ring, it is kept for a later generation. Only at a start after a stop is the
 * file at the path read.
 *
 * In the parent, once per post_config, after the registry is finished.
 * @param cache the ring, allocated from p; NULL: no certificate needs one
 * @param conf the directives that hold for the server as a whole
 * @param s the main server, for the log
 * @return APR_SUCCESS, or what kept even a ring in memory from being made
 */
apr_status_t staple_generation_make_ring(staple_cache_t **cache,
                                         const staple_cert_registry_t *registry,
                                         const staple_main_conf_t *conf,
                                         const server_rec *s, apr_pool_t *p,
                                         apr_pool_t *ptemp);

/**
 * Where the ring's file is, as long as the cache lives; NULL: it is in memory
 * only. In the parent.
 */
const char *staple_generation_ring_file(const staple_cache_t *cache);

/**
 * Become the process that writes the ring, and begin to copy it to its file:
 * from here on a thread of this process does that once a second, so that a
 * disk that hangs delays the copy and nothing else. Needs no privileges: what
 * it takes is opened for it.
 *
 * In the refresher, right after its fork, while it has one thread and the
 * refresher before it has been reaped. Other threads of the process may write
 * the ring afterwards, one at a time (staple_cache.h says what is exempt).
 * @param s the main server, for the log
 * @param p lives as long as the process writes
 * @return APR_SUCCESS, or what keeps the ring from being written here; a file
 *         that cannot be written is no such thing, and is only logged
 */
apr_status_t staple_generation_begin_writing(staple_cache_t *cache,
                                             const server_rec *s,
                                             apr_pool_t *p);

/**
 * Copy what the file has not yet, with the counts of handshakes, and end the
 * thread that does it; after `patience` it is left where it is. The ring must
 * not be written any more. In the refresher, before it ends with _exit.
 */
void staple_generation_end_writing(staple_cache_t *cache,
                                   apr_interval_time_t patience);

/**
 * Give up the descriptors that it takes to write ring and file. In each child
 * that is not the refresher, in child_init, while it has one thread.
 * @param cache NULL: this generation has none, but an earlier one had
 */
void staple_generation_only_read(staple_cache_t *cache);

/**
 * Have a new file made where the ring's has lost its name, or where there is
 * none so far; the refresher gets it. Logs changes only.
 *
 * In the parent, in its monitor hook. It touches no file itself: the refresher
 * looks at the name, and a process of its own makes the file, for which the
 * parent waits a tenth of a second at most.
 */
void staple_generation_check_file(staple_cache_t *cache, const server_rec *s,
                                  apr_pool_t *ptemp);

/**
 * STAPLE_SHARE_IDENTITY_LEN random bytes, the same for all generations of one
 * parent process.
 */
const unsigned char *staple_generation_identity(void);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_GENERATION_H */
