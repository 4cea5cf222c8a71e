/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLECTL_KEEP_H
#define STAPLECTL_KEEP_H

/*
 * Between staplectl/keep.c, which knows files, and staplectl/fetch.c, which
 * asks responders: a certificate whose response is to be had, and what became
 * of it.
 */

#include "staplectl.h"

#include "staple_ocsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What became of a certificate. */
typedef enum {
    ITEM_OPEN,       /* nothing yet */
    ITEM_WRITTEN,    /* a response was fetched and written */
    ITEM_FRESH,      /* what is in the file is as new as can be had, or not due
                        yet */
    ITEM_NONE,       /* OCSP does not apply to it, and no client minds */
    ITEM_UNREADABLE, /* it cannot be asked about */
    ITEM_COLLIDING,  /* the response of another would go to the same file */
    ITEM_REVOKED,    /* the responder says revoked; nothing was written */
    ITEM_UNWRITTEN,  /* a response was fetched and cannot be written */
    ITEM_FAILED      /* none was to be had */
} item_end_e;

typedef struct item_t {
    apr_pool_t *pool;
    const char *path;          /* of the certificate, as it was written */
    const char *place;         /* the same however the path is spelled */
    int is_found;              /* by --keep-fresh; else the user named it */
    const char *output;        /* where its response goes */
    const staple_cert_t *cert; /* NULL: it cannot be read */
    staple_cache_meta_t held;  /* of the response that is there; all 0: none
                                  that is to be believed */
    item_end_e end;
    apr_time_t until;          /* WRITTEN, FRESH: the end of the response */
    const char *why;           /* of what did not come about */
} item_t;

/** Write a verified response, if it is better than what is there, and say so
 * in the item. */
void staplectl_keep_put(item_t *item, const staple_ocsp_verdict_t *verdict,
                        const unsigned char *der, apr_size_t len);

/** Ask for each of items, item_t *, that is open; none is afterwards. The
 * caller ignores SIGPIPE meanwhile. */
void staplectl_fetch_items(apr_array_header_t *items,
                           const staplectl_fetch_options_t *options,
                           apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLECTL_KEEP_H */
