/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_REFRESHER_H
#define STAPLE_REFRESHER_H

/*
 * The refresher of a generation: the process (staple_process.h) that does the
 * work (staple_refresh.h) with this configuration and this ring, and what it
 * decides at the end of the warm-up.
 */

#include <httpd.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_config.h"
#include "staple_fetch.h"
#include "staple_process.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Start it; in the parent, in post_config, when the ring is there. It verifies
 * what the ring has, asks the responders and publishes what they say; with
 * StapleMustStaple require it ends the server where a must-staple certificate
 * has nothing to staple after the warm-up.
 * @param process the process, to be supervised
 * @param s the main server
 * @param p, ptemp as staple_process_start wants them
 * @return APR_SUCCESS, or why there is no memory for it
 */
apr_status_t staple_refresher_start(staple_process_t **process,
                                    staple_cache_t *cache,
                                    const staple_cert_registry_t *registry,
                                    server_rec *s, apr_pool_t *p,
                                    apr_pool_t *ptemp);

/**
 * In a child, before its first accept: wait for what is missing, for
 * StapleWarmup at most.
 * @param s the main server
 */
void staple_refresher_await(const staple_process_t *process,
                            const staple_cache_t *cache,
                            const staple_cert_registry_t *registry,
                            server_rec *s);

/** How responders are asked: limits, and who is not asked at all. */
staple_fetch_conf_t staple_refresher_limits(const staple_main_conf_t *global);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_REFRESHER_H */
