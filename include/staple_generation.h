/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_GENERATION_H
#define STAPLE_GENERATION_H

/*
 * What a start or restart builds in the parent: the ring of the generation that
 * begins, seeded from the one that ends, and what is said about it.
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
 * nothing refers to after this, is given back.
 *
 * In the parent, once per post_config, after the registry is finished.
 * @param cache the ring, allocated from p; NULL: no certificate needs one
 * @param file where the ring's file is, from p; NULL: it is in memory only
 * @param conf the directives that hold for the server as a whole
 * @param s the main server, for the log
 * @return APR_SUCCESS, or what kept even a ring in memory from being made
 */
apr_status_t staple_generation_make_ring(staple_cache_t **cache,
                                         const char **file,
                                         const staple_cert_registry_t *registry,
                                         const staple_main_conf_t *conf,
                                         const server_rec *s, apr_pool_t *p,
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
