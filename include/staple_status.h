/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_STATUS_H
#define STAPLE_STATUS_H

/*
 * What an administrator can see: the handler behind
 * `SetHandler staple-status`. It reads the registry and the ring and writes
 * to neither.
 */

#include <httpd.h>

#include "staple_cache.h"
#include "staple_cert.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The name to give to SetHandler. */
#define STAPLE_STATUS_HANDLER "staple-status"

/**
 * Answer a request with one line of text per certificate: its verdict first,
 * so that `grep -v ^stapled` shows what needs attention.
 * @param cache NULL where no certificate is stapled
 * @return an HTTP status or OK, as a handler does
 */
int staple_status_handle(request_rec *r, const staple_cache_t *cache,
                         const staple_cert_registry_t *registry);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_STATUS_H */
