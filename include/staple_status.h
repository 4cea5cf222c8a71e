/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_STATUS_H
#define STAPLE_STATUS_H

/*
 * What an administrator can see and ask for: the handler behind
 * `SetHandler staple-status`, and the section on mod_status' own page. Both
 * read the registry and the ring, so any child can answer. docs/status.md is
 * the manual.
 *
 * A GET never changes anything. A POST leaves a request for the refresher in
 * the ring, or drops a response there, and nothing else.
 */

#include <httpd.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_process.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The name to give to SetHandler. */
#define STAPLE_STATUS_HANDLER "staple-status"

/** What there is to see; read, and kept by reference during a request. */
typedef struct staple_status_conf_t {
    staple_cache_t *cache;     /* NULL where no certificate is stapled */
    const staple_cert_registry_t *registry;
    const char *ring_path;     /* NULL: the ring is in memory only */
    const char *share;         /* StapleShare's provider; NULL: none */
    const staple_process_t *process; /* the refresher; NULL: none */
    const apr_array_header_t *notes; /* const char *: lines of the configuration
                                  whose values were replaced, and by what;
                                  printable; NULL: none */
    const apr_array_header_t *places; /* const char *: paths at which the
                                  configuration has the handler; NULL: none */
    int may_act;               /* StapleStatusActions */
    const char *token;         /* what a form has to send back: random, made
                                  before there are children, so they agree */
} staple_status_conf_t;

/** The paths of <Location> sections that have the handler, from httpd's
 * configuration tree, which is there until the server has started. */
const apr_array_header_t *staple_status_find_places(apr_pool_t *p);

/** A token for the forms of a generation, from p; NULL: no randomness. */
const char *staple_status_make_token(apr_pool_t *p);

/**
 * Answer a request for the status page, in any of its views.
 * @return an HTTP status or OK, as a handler does
 */
int staple_status_handle(request_rec *r, const staple_status_conf_t *conf);

/**
 * Add a section to mod_status' page.
 * @param flags AP_STATUS_*, as mod_status' hook has them
 * @return OK
 */
int staple_status_section(request_rec *r, int flags,
                          const staple_status_conf_t *conf);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_STATUS_H */
