/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_H
#define STAPLE_CACHE_H

/*
 * The ring: verified OCSP responses in shared memory, one slot for each
 * certificate, behind `SSLStaplingCache shmcb:path(size)`.
 *
 * The one idea: a response is copied out by readers that take no lock, write
 * nothing and make no system call, while one writer at a time appends to a
 * cyclic log whose positions only grow. docs/ring.md draws the segment and
 * proves the orderings; this header is the contract.
 *
 * A segment belongs to one generation of the server. Its set of certificates
 * is fixed when it is made (staple_cache_create) and never changes; a restart
 * makes the next segment, seeded from this one. Children reach a segment by
 * inheriting the parent's mapping.
 *
 * This room knows nothing of OCSP: it keeps bytes, their times and a status
 * whose meaning belongs to the caller. It opens its own file and nothing else,
 * and never logs: what there is to say goes up in a staple_cache_report_t or
 * a reason string.
 */

#include <apr_pools.h>
#include <apr_time.h>
#include <apr_global_mutex.h>

#include "staple_id.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Limits and default of mod_socache_shmcb, in bytes of the whole segment. */
#define STAPLE_CACHE_SIZE_MIN ((apr_size_t)8192)
#define STAPLE_CACHE_SIZE_DEFAULT ((apr_size_t)512 * 1024)

/** The longest response that a record can hold, in bytes of DER. */
#define STAPLE_CACHE_DER_MAX ((apr_size_t)64 * 1024)

/** What the argument of `shmcb:` says. */
typedef struct staple_cache_spec_t {
    const char *path; /* as written, not yet resolved; NULL: no file is named */
    apr_size_t size;  /* bytes of the whole segment */
} staple_cache_spec_t;

/**
 * Read `path(size)`, `path` or an empty string, with the limits of
 * mod_socache_shmcb. The last '(' starts the size, which is decimal bytes.
 * @param spec the result, allocated from p where it points
 * @param arg what follows `shmcb:`; NULL counts as empty
 * @return NULL, or what is wrong and what is accepted (a phrase without the
 *         directive's name, allocated from p)
 */
const char *staple_cache_parse_spec(staple_cache_spec_t *spec, const char *arg,
                                    apr_pool_t *p);

/** What is kept beside a response. Times are apr_time_t (microseconds). */
typedef struct staple_cache_meta_t {
    apr_time_t this_update; /* RFC 6960 2.4 */
    apr_time_t next_update; /* 0: the response has none */
    apr_time_t fetched_at;  /* when responder or share gave it */
    apr_uint32_t status;    /* the caller's */
    apr_uint32_t flags;     /* the caller's */
} staple_cache_meta_t;

/**
 * How the refresh of one certificate stands; written by the refresher only,
 * readable in any process. Written as a whole: a reader sees the old or the
 * new state, never a mixture, and a writer killed in the middle leaves the
 * old one. What says how the last exchange went is in the refresher's own
 * signs, which include/staple_words.h puts into words.
 */
typedef struct staple_cache_state_t {
    apr_time_t last_attempt; /* end of the last exchange; 0: none yet */
    apr_time_t last_success; /* the last verified response; 0: none yet */
    apr_time_t next_due;     /* when the next attempt is planned; 0: none is */
    apr_uint32_t attempts;   /* exchanges in this certificate's life */
    apr_uint32_t failures;   /* of those, how many brought no response */
    apr_uint32_t failing;    /* failures in a row; 0: fine */
    apr_uint16_t outcome;    /* the caller's reason for the last outcome */
    apr_uint16_t detail;     /* the caller's, e.g. an HTTP status */
    apr_uint16_t resolve_took; /* the caller's: how long the phases of the */
    apr_uint16_t connect_took; /* last exchange took */
    apr_uint16_t wait_took;
    apr_uint16_t url_index;  /* the caller's: which URL was asked last, */
    apr_uint16_t url_mark;   /* and how to know it again */
    apr_uint16_t peer_port;  /* the address asked last; 0: none was */
    apr_uint32_t peer_scope; /* of a link-local address; 0: none */
    unsigned char peer[16];  /* IPv6, or IPv4 mapped into it */
} staple_cache_state_t;

/** One generation's segment as this process sees it. */
typedef struct staple_cache_t staple_cache_t;

/** What staple_cache_create shall build. */
typedef struct staple_cache_conf_t {
    const char *path;      /* absolute; NULL: anonymous memory */
    apr_size_t size;       /* bytes asked for */
    int may_grow;          /* whether a segment too small for ids may grow */
    const unsigned char (*ids)[STAPLE_ID_LEN]; /* distinct, in order of
                              configuration: slot i belongs to ids[i] */
    const char *const *names; /* what people call them, in the same order; or
                              NULL. Of one that has no room the end is kept */
    apr_size_t ids_count;
    staple_cache_t *previous; /* the generation before, still mapped; or NULL */
} staple_cache_conf_t;

/** Where the records of a new generation came from. */
typedef enum {
    STAPLE_CACHE_SEED_NONE,   /* nothing to take over */
    STAPLE_CACHE_SEED_MEMORY, /* the previous generation's mapping */
    STAPLE_CACHE_SEED_FILE    /* the file at path: pending until confirmed */
} staple_cache_seed_e;

/** What staple_cache_create did; strings live in its pool. */
typedef struct staple_cache_report_t {
    staple_cache_seed_e seed;
    apr_size_t seeded;         /* records taken over */
    apr_size_t dropped;        /* records of the source nobody wants any more */
    apr_size_t size_granted;   /* bytes of the segment made */
    apr_size_t size_wanted;    /* bytes that ids_count certificates need */
    apr_size_t left_out;       /* certificates without a slot (may_grow off) */
    const char *old_file;      /* NULL, or why the file found at path was not
                                  used, and where it is now: finishes "what
                                  is at PATH ..." ("is a symbolic link") */
    const char *new_file;      /* NULL, or why no file could be made at path:
                                  the ring is anonymous memory then ("No
                                  space left on device") */
} staple_cache_report_t;

/** Bytes of a segment for so many certificates, of whose responses none has
 * been seen yet. */
apr_size_t staple_cache_size_for(apr_size_t certificates);

/**
 * Make the segment of a new generation and seed it: from conf->previous where
 * there is one, else from the file at conf->path. Records from memory are
 * served at once; records from a file are pending until staple_cache_confirm.
 * The new segment is written under a temporary name and renamed to
 * conf->path; the old file's mappings stay as they are. What is found there and
 * is not a ring file of this user is left alone, and the ring is anonymous; a
 * ring file that cannot be used is renamed to path.bad.
 *
 * Called in the parent, before children exist. The mapping is inherited by
 * children and lives until staple_cache_unmap: no pool cleanup touches it.
 * A failure with the file is no failure: see report->new_file.
 *
 * @param cache the result, allocated from p
 * @param conf what to build; nothing of it is kept but by copy
 * @param report what was done; filled in on APR_SUCCESS
 * @return APR_SUCCESS; APR_ENOMEM and the like where not even anonymous
 *         memory could be had
 */
apr_status_t staple_cache_create(staple_cache_t **cache,
                                 const staple_cache_conf_t *conf,
                                 staple_cache_report_t *report, apr_pool_t *p);

/**
 * Open a ring file for reading, in a program that is not the server. The
 * same checks as at start apply, besides the owner's.
 * @param reason on failure, why, in words; allocated from p
 */
apr_status_t staple_cache_open_file(staple_cache_t **cache, const char *path,
                                    const char **reason, apr_pool_t *p);

/**
 * Wrap a mapping that outlived its staple_cache_t (the parent keeps address
 * and length across restarts, because pools do not).
 * @return APR_SUCCESS, or APR_EINVAL where the bytes are no segment
 */
apr_status_t staple_cache_attach(staple_cache_t **cache, void *base,
                                 apr_size_t length, apr_pool_t *p);

/** The mapping behind a cache, for a later staple_cache_attach. */
void staple_cache_mapping(const staple_cache_t *cache, void **base,
                          apr_size_t *length);

/** Give the mapping back to the system; the cache must not be used again. */
void staple_cache_unmap(staple_cache_t *cache);

/**
 * The lock that writers take. Without it (NULL, the state after create) the
 * caller promises that there is one writer. A child sets it again after
 * apr_global_mutex_child_init, which may replace it. posixsem mutexes stay with
 * an owner that was killed: choose another mechanism for this one.
 */
void staple_cache_set_lock(staple_cache_t *cache, apr_global_mutex_t *lock);

/** How many slots there are; slots are 0 .. count-1. */
apr_size_t staple_cache_count(const staple_cache_t *cache);

/**
 * The slot of an id. No lock, no write, no system call.
 * @return the slot, or -1
 */
int staple_cache_find(const staple_cache_t *cache,
                      const unsigned char id[STAPLE_ID_LEN]);

/** The id of a slot; the bytes live as long as the mapping. */
const unsigned char *staple_cache_id(const staple_cache_t *cache, int slot);

/** Bytes of a name in the ring, the final 0 included. */
#define STAPLE_CACHE_NAME_LEN 56

/** What a name begins with whose beginning had no room. */
#define STAPLE_CACHE_NAME_CUT ".."

/**
 * What people call the certificate of a slot, for programs that know nothing
 * else of it; lives as long as the mapping. In a file, any bytes may stand
 * there.
 * @return at most STAPLE_CACHE_NAME_LEN - 1 characters; "": no name is known
 */
const char *staple_cache_name(const staple_cache_t *cache, int slot);

/**
 * Copy the newest confirmed response of a slot. Takes no lock, writes
 * nothing shared, makes no system call, allocates nothing; any thread of any
 * process. What is returned is whole and belongs to the slot's id.
 * @param buf where to copy to; STAPLE_CACHE_DER_MAX bytes suffice for any
 * @param size bytes of buf
 * @param len bytes copied
 * @param meta what is kept beside them; may be NULL
 * @return APR_SUCCESS; APR_NOTFOUND: nothing (valid) is held;
 *         APR_ENOSPC: buf is too small, *len says what it takes
 */
apr_status_t staple_cache_read(const staple_cache_t *cache, int slot,
                               unsigned char *buf, apr_size_t size,
                               apr_size_t *len, staple_cache_meta_t *meta);

/** The same for the response that waits to be confirmed. */
apr_status_t staple_cache_read_pending(const staple_cache_t *cache, int slot,
                                       unsigned char *buf, apr_size_t size,
                                       apr_size_t *len,
                                       staple_cache_meta_t *meta);

/**
 * Take the next slot whose pending response nobody has looked at yet, so that
 * children share the work of verifying a file. Lock-free.
 * @return a slot with a pending response, or -1: all are taken
 */
int staple_cache_claim_pending(staple_cache_t *cache);

/** How many slots still have a pending response. */
apr_size_t staple_cache_pending(const staple_cache_t *cache);

/**
 * Say what became of a pending response: true makes it the slot's response
 * (unless a newer one was stored meanwhile), false drops it. Takes the lock.
 */
apr_status_t staple_cache_confirm(staple_cache_t *cache, int slot, int is_true);

/**
 * Publish a verified response to every process at once. Takes the lock for
 * the time of a few copies. The caller decides whether it is newer than what
 * is held; a pending response of the slot is dropped.
 * @return APR_SUCCESS; APR_ENOSPC: the live responses do not leave room (the
 *         old one stays); APR_EINVAL: der_len is 0 or above
 *         STAPLE_CACHE_DER_MAX
 */
apr_status_t staple_cache_store(staple_cache_t *cache, int slot,
                                const unsigned char *der, apr_size_t der_len,
                                const staple_cache_meta_t *meta);

/** Drop the response of a slot, pending or not. Takes the lock. */
apr_status_t staple_cache_forget(staple_cache_t *cache, int slot);

/** Copy the refresh state of a slot; lock-free as staple_cache_read. */
void staple_cache_state(const staple_cache_t *cache, int slot,
                        staple_cache_state_t *state);

/** Replace the refresh state of a slot. Takes the lock. */
apr_status_t staple_cache_set_state(staple_cache_t *cache, int slot,
                                    const staple_cache_state_t *state);

/** What handshakes got, over all processes. */
typedef struct staple_cache_served_t {
    apr_uint64_t served; /* a response was handed over */
    apr_uint64_t missed; /* nothing was held that may be served */
} staple_cache_served_t;

/**
 * Add to what was counted of a slot: a relaxed atomic addition. No lock, no
 * system call, any thread of any process. The sums are taken over by the next
 * generation; what an old child counts after that is lost.
 */
void staple_cache_count_served(staple_cache_t *cache, int slot,
                               const staple_cache_served_t *more);

/** What was counted of a slot so far. Lock-free. */
void staple_cache_served(const staple_cache_t *cache, int slot,
                         staple_cache_served_t *sum);

/** How the share fares, over all refreshers of this server. */
typedef struct staple_cache_share_t {
    apr_uint64_t hits;       /* these seven as in staple_share_state_t */
    apr_uint64_t misses;
    apr_uint64_t odd;
    apr_uint64_t stored;
    apr_uint64_t dropped;
    apr_uint64_t unanswered;
    apr_uint64_t errors;
    apr_time_t last_error;   /* 0: none */
    apr_status_t last_status;
    int is_silent;           /* whether it does not answer, */
    apr_time_t since;        /* and since when it does or does not, in this
                                generation; 0: nobody has used a share yet */
} staple_cache_share_t;

/**
 * Add what the refresher has counted of its share; the rest of `more` takes the
 * place of what was said before (an error only if there is one). Lock-free.
 * Counters and the last error are taken over by the next generation.
 */
void staple_cache_count_share(staple_cache_t *cache,
                              const staple_cache_share_t *more);

/** What was counted so far. Lock-free; each number is whole, all of them
 * together are a snapshot only while nobody counts. */
void staple_cache_share(const staple_cache_t *cache,
                        staple_cache_share_t *sum);

/** What an administrator asks of the refresher. */
typedef enum {
    STAPLE_CACHE_REFRESH = 1, /* ask for a new response at once */
    STAPLE_CACHE_FORGET = 2 /* drop the held response first, and what is
                                 remembered of it (validators) */
} staple_cache_request_e;

/**
 * Leave a request for the refresher, in whatever process it lives. Lock-free.
 * @param what staple_cache_request_e, or-ed
 * @return APR_SUCCESS; APR_EINVAL: no such slot; APR_EAGAIN: too many wait to
 *         be taken
 */
apr_status_t staple_cache_request(staple_cache_t *cache, int slot,
                                  apr_uint32_t what);

/**
 * Take a request that nobody has taken yet; the refresher calls this at each
 * step until there is none, which costs a few loads. Lock-free.
 * @param slot whose request it is
 * @return staple_cache_request_e, or-ed; 0: there is none
 */
apr_uint32_t staple_cache_take_request(staple_cache_t *cache, int *slot);

/** How full the ring is; a snapshot, exact only while nobody writes. */
typedef struct staple_cache_usage_t {
    apr_size_t size;      /* bytes of the segment */
    apr_size_t data_size; /* bytes of its data area */
    apr_size_t live;      /* bytes of records that slots point at */
    apr_size_t records;   /* how many those are */
    apr_uint64_t stored;  /* records written since the segment was made */
    apr_uint64_t moved;   /* of those, live ones moved from tail to head */
    apr_uint64_t refused; /* stores refused with APR_ENOSPC */
    apr_uint64_t generation; /* counts the segments since a file was begun */
    apr_time_t created;
} staple_cache_usage_t;

void staple_cache_usage(const staple_cache_t *cache,
                        staple_cache_usage_t *usage);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_H */
