/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_FILE_H
#define STAPLE_CACHE_FILE_H

/*
 * The file of the ring: finding the one that is there, and putting a new one
 * in its place. Of the room of the ring; called by cache/helper.c, at a first
 * start in the parent (cache/make.c), and in a program that is not the server.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What lies at the path of a ring. */
typedef enum {
    STAPLE_CACHE_FOUND_NOTHING, /* no such file */
    STAPLE_CACHE_FOUND_RING,    /* a ring */
    STAPLE_CACHE_FOUND_BROKEN,  /* a ring of ours once, or the blank of one */
    STAPLE_CACHE_FOUND_FOREIGN  /* something that is not ours to touch */
} staple_cache_found_e;

typedef struct staple_cache_found_t {
    staple_cache_found_e what;
    const char *why; /* unless RING: what it is, to finish "the file ..." */
    void *base;      /* of a RING that was read: a private mapping of the
                        present layout, the caller's to unmap; its header was
                        checked, nothing else */
    apr_size_t size;
} staple_cache_found_t;

/** What is looked for. */
typedef struct staple_cache_search_t {
    const char *path;
    int is_visitor;      /* this program is not the server: a ring of another
                            user is one, and so is one that a server has
                            locked */
    int held;            /* the descriptor of this server's own file, whose lock
                            is no other's; -1: it has none */
    apr_size_t size_max; /* read what is not larger; 0: do not read */
} staple_cache_search_t;

/**
 * Look what is there, without following a link or waiting.
 * @param p for the reason
 */
staple_cache_found_t staple_cache_file_find(const staple_cache_search_t *search,
                                            apr_pool_t *p);

/**
 * Make a file of these bytes at path: mode 0600, all blocks reserved, under a
 * temporary name first, locked. Replaces only what is a plain file of this
 * user.
 * @param fd its descriptor, for reading and writing; no exec hands it on
 * @return NULL, or why it could not be made; nothing is left behind then
 */
const char *staple_cache_file_make(const char *path, const void *bytes,
                                   apr_size_t size, int *fd, apr_pool_t *p);

/**
 * Rename a broken file to path.bad, for somebody to look at.
 * @param aside_path its new name
 * @return NULL, or why it is still in the way
 */
const char *staple_cache_file_set_aside(const char *path,
                                        const char **aside_path,
                                        apr_pool_t *p);

/** Remove what a start that was killed has left beside path. */
void staple_cache_file_remove_stale(const char *path, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_FILE_H */
