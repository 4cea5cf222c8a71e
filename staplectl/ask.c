/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: what is asked of the refresher of a server at work, by words in
 * the ring's file, and what came of it.
 *
 * The one idea: the file tells all of it. A request is taken when its word is 0
 * again, and has been carried out when the ring has an exchange that ended
 * later than the request was made.
 */

#include "staplectl.h"
#include "staple_clock.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

/* A refresher at work takes a request within a second. */
#define TAKE_PATIENCE apr_time_from_sec(10)

/* How often is looked what came of it. */
#define LOOK_SPAN apr_time_from_msec(500)

static const char *why_not(apr_status_t rv, const char *path, apr_pool_t *p)
{
    char text[120];

    if (rv == APR_TIMEUP) {
        return apr_psprintf(p, "no refresher takes requests from %s: either no "
                            "server is at work with this file, or it is older "
                            "than staplectl", path);
    }
    if (rv == APR_EAGAIN) {
        return "too many requests wait to be taken; try again in a moment";
    }
    if (rv == APR_EBUSY) {
        return apr_pstrcat(p, path, " is locked: either another program such "
                           "as staplectl has stopped while it asked, or the "
                           "file is on NFS, where no requests can be made",
                           NULL);
    }
    if (rv == APR_EINVAL) {
        return apr_pstrcat(p, path, " was replaced meanwhile, by a restart of "
                           "the server; try again", NULL);
    }
    return apr_psprintf(p, "%s cannot be written: %s", path,
                        apr_strerror(rv, text, sizeof(text)));
}

static apr_status_t ask_each(const staple_cache_t *cache,
                             const staplectl_request_t *request,
                             const apr_array_header_t *entries)
{
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; !rv && i < entries->nelts; i++) {
        const staple_view_t *view = &APR_ARRAY_IDX(entries, i,
                                                   staplectl_entry_t).view;
        int slot = staple_cache_find(cache, view->id);

        if (slot >= 0) {
            rv = staple_cache_ask(cache, request->ring_path, slot,
                                  request->what, TAKE_PATIENCE);
        }
    }
    return rv;
}

const char *staplectl_ask(const staplectl_request_t *request,
                          const apr_array_header_t *entries, apr_pool_t *p)
{
    const char *reason;
    staple_cache_t *cache;
    apr_status_t rv;

    rv = staple_cache_open_file(&cache, request->ring_path, &reason, p);
    if (rv) {
        return staplectl_no_ring(rv, request->ring_path, reason, p);
    }
    rv = request->are_all
         ? staple_cache_ask(cache, request->ring_path, 0,
                            request->what | STAPLE_CACHE_ALL, TAKE_PATIENCE)
         : ask_each(cache, request, entries);
    staple_cache_unmap(cache);
    return rv ? why_not(rv, request->ring_path, p) : NULL;
}

/* ----- what came of it ----- */

static const staple_view_t *view_of(const staplectl_ring_t *ring,
                                    const unsigned char *id)
{
    int i;

    for (i = 0; i < ring->entries->nelts; i++) {
        const staple_view_t *view = &APR_ARRAY_IDX(ring->entries, i,
                                                   staplectl_entry_t).view;

        if (!memcmp(view->id, id, STAPLE_ID_LEN)) {
            return view;
        }
    }
    return NULL;
}

/* What no responder is asked about has nothing to wait for. */
static int is_answered(const staple_view_t *view, apr_time_t since)
{
    return !view || !staplectl_entry_is_asked(view)
           || (view->exchange.last_attempt >= since
               && !view->exchange.begun_at);
}

static void say(const staple_view_t *view, int is_over)
{
    printf("%s: %s%s%s\n", view->name, staple_state_name(view->state),
           *view->outcome ? "; the last exchange: " : "",
           is_over ? view->outcome : "has not ended yet");
}

/* One line each; returns the exit status of the worst. */
static int say_all(const staplectl_ring_t *ring,
                   const apr_array_header_t *entries, apr_time_t since)
{
    int i, status = STAPLECTL_OK;

    for (i = 0; i < entries->nelts; i++) {
        const staple_view_t *view
            = view_of(ring, APR_ARRAY_IDX(entries, i,
                                          staplectl_entry_t).view.id);
        int is_over = is_answered(view, since), is = STAPLECTL_OK;

        if (!view) {
            continue;
        }
        say(view, is_over);
        if (!is_over) {
            is = STAPLECTL_WARNING;
        }
        else if (view->exchange.failing) {
            is = STAPLECTL_CRITICAL;
        }
        status = is > status ? is : status;
    }
    return status;
}

static int are_answered(const staplectl_ring_t *ring,
                        const apr_array_header_t *entries, apr_time_t since)
{
    int i;

    for (i = 0; i < entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(entries, i, staplectl_entry_t);

        if (!is_answered(view_of(ring, entry->view.id), since)) {
            return 0;
        }
    }
    return 1;
}

int staplectl_await(const staplectl_request_t *request,
                    const apr_array_header_t *entries,
                    const staplectl_certs_t *certs, apr_pool_t *p)
{
    apr_time_t until = staple_clock_now() + request->wait;
    const char *wrong;
    int status = STAPLECTL_UNKNOWN, is_over;
    staplectl_ring_t *ring;
    apr_pool_t *p_look;

    apr_pool_create(&p_look, p);
    do {
        apr_sleep(LOOK_SPAN);
        apr_pool_clear(p_look);
        wrong = staplectl_ring_load(&ring, request->ring_path, certs,
                                    apr_time_now(), p_look);
        is_over = staple_clock_now() >= until
                  || (!wrong && are_answered(ring, entries, request->since));
    } while (!is_over);
    if (wrong) {
        fprintf(stderr, "staplectl: %s\n", wrong);
    }
    else {
        status = say_all(ring, entries, request->since);
    }
    apr_pool_destroy(p_look);
    return status;
}
