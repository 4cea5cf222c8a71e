/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_H
#define STAPLE_CACHE_H

/*
 * The ring: verified OCSP responses in shared memory, one slot for each
 * certificate, behind `SSLStaplingCache shmcb:path(size)`.
 *
 * The one idea: a response is copied out by readers that take no lock, write
 * nothing and make no system call, while the one process that may write
 * appends to a cyclic log whose positions only grow. docs/ring.md draws the
 * segment and proves the orderings; this header is the contract.
 *
 * A segment belongs to one generation of the server. Its set of certificates
 * is fixed when it is made (staple_cache_create) and never changes; a restart
 * makes the next segment, seeded from this one. It lies in memory that the
 * parent and its children can only read; a process that was forked to be the
 * writer can write it (staple_cache_begin_writing). What every process may
 * write, counts and requests, lies beside it, and nobody trusts it.
 *
 * The file at the path of `shmcb:` is a copy, for the next start and for
 * staplectl. Nobody maps it: a thread of the writer brings it up to date
 * (staple_cache_begin_copying), the parent reads it once, into memory of its
 * own, at a start. So what happens to the file happens to the copy alone.
 *
 * This room knows nothing of OCSP: it keeps bytes, their times and a status
 * whose meaning belongs to the caller. It opens its own file and nothing else,
 * and never logs: what there is to say goes up in a staple_cache_report_t or
 * a reason string.
 */

#include <apr_pools.h>
#include <apr_time.h>

#include "staple_memory.h"

#include "staple_id.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Least and default of mod_socache_shmcb, in bytes of the whole segment. */
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
 * Read `path(size)`, `path` or an empty string, with the least size of
 * mod_socache_shmcb and no greatest. The last '(' starts the size, which is
 * decimal bytes.
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
    apr_uint32_t unused;     /* 0 */
    unsigned char peer[16];  /* IPv6, or IPv4 mapped into it */
    apr_time_t begun_at;     /* an exchange that has not ended, with the URL of
                                url_index, began then; 0: there is none */
    apr_uint64_t since;      /* the caller's: since when it is as it is */
} staple_cache_state_t;

/** Bytes of a name in the ring, the final 0 included. */
#define STAPLE_CACHE_NAME_LEN 48

/** What a name begins with whose beginning had no room. */
#define STAPLE_CACHE_NAME_CUT ".."

/** What is known of a certificate when the segment is made, for programs that
 * know nothing else of it. In a file, any bytes may stand there. */
typedef struct staple_cache_about_t {
    const char *name;      /* what people call it: at most
                              STAPLE_CACHE_NAME_LEN - 1 characters, the end of
                              what is longer; "": no name is known. Lives as
                              long as the mapping */
    apr_time_t not_after;  /* when it ends; 0: not known */
    apr_uint32_t traits;   /* the caller's */
} staple_cache_about_t;

/** A certificate that is to have no slot, and that is listed all the same. */
typedef struct staple_cache_other_t {
    const unsigned char *id;
    staple_cache_about_t about;
} staple_cache_other_t;

/** How many of them are listed at most. */
#define STAPLE_CACHE_OTHERS_MAX 1024

/** How many kinds of failures are counted. */
#define STAPLE_CACHE_FAILURES 48

/** One generation's segment as this process sees it. */
typedef struct staple_cache_t staple_cache_t;

/** What a process has of a segment. Plain values, so that the parent can keep
 * them from one generation to the next, while its pools come and go. */
typedef struct staple_cache_kept_t {
    staple_memory_t ring;
    staple_memory_t counters;
    int channel[2];    /* sockets: into one of them goes the descriptor of the
                          ring's file, and waits in the other; -1: there are
                          none */
    int answer;        /* where a helper that makes the file will say how it
                          went; -1: none is at work */
    pid_t helper;      /* its process; 0: there is none */
    apr_time_t helped; /* when the last one began, by the clock that never
                          jumps */
} staple_cache_kept_t;

/** What staple_cache_create shall build. */
typedef struct staple_cache_conf_t {
    const char *path;      /* absolute; NULL: anonymous memory */
    apr_size_t size;       /* bytes asked for */
    int may_grow;          /* whether a segment too small for ids may grow */
    const unsigned char (*ids)[STAPLE_ID_LEN]; /* distinct, in order of
                              configuration: slot i belongs to ids[i] */
    const staple_cache_about_t *about; /* of each, in the same order; or NULL */
    apr_size_t ids_count;
    const staple_cache_other_t *others; /* in the order in which they are to be
                              listed. Those of ids that have no room follow. It
                              is never for their sake that a segment grows */
    apr_size_t others_count;
    staple_cache_kept_t *previous; /* the generation before; or NULL */
    int is_restart;        /* what lies at path is for the helper alone: it is
                              replaced, and not read */
    apr_interval_time_t patience; /* a helper process makes the file, and is
                              waited for no longer than this; 0: this process
                              makes it */
    void (*on_fork)(void); /* called in the helper; or NULL */
} staple_cache_conf_t;

/** Where the records of a new generation came from. */
typedef enum {
    STAPLE_CACHE_SEED_NONE,   /* nothing to take over */
    STAPLE_CACHE_SEED_MEMORY, /* the previous generation's memory */
    STAPLE_CACHE_SEED_FILE    /* the file at path: pending until confirmed */
} staple_cache_seed_e;

/** What staple_cache_create did; strings live in its pool. */
typedef struct staple_cache_report_t {
    staple_cache_seed_e seed;
    apr_size_t seeded;         /* records taken over */
    apr_size_t dropped;        /* records of the source nobody wants any more */
    apr_size_t size_granted;   /* bytes of the segment made: more than was
                                  asked for where it has grown, less where that
                                  was more than could ever be used */
    apr_size_t size_wanted;    /* bytes that ids_count certificates need */
    apr_size_t left_out;       /* certificates without a slot (may_grow off) */
    const char *old_file;      /* NULL, or why the file found at path was not
                                  used, and where it is now: finishes "what
                                  is at PATH ..." ("is a symbolic link") */
    const char *new_file;      /* NULL, or why no file could be made at path:
                                  the ring is in memory alone then ("No
                                  space left on device") */
    int is_late;               /* true: the helper has not said yet whether
                                  there is a file (staple_cache_check_file) */
    const char *weaker;        /* NULL, or why a child could make its mapping
                                  writable, as in staple_memory_make */
} staple_cache_report_t;

/**
 * Whether a start could keep a ring of this size in a file at path: directory,
 * what is there, owner, mode and free space are looked at, and nothing is made.
 * A file that a server has in use is no obstacle: it may be this server's own.
 * @return NULL, or why not, in words, from p
 */
const char *staple_cache_foresee(const char *path, apr_size_t size,
                                 apr_pool_t *p);

/** Bytes of a segment for so many certificates, of whose responses none has
 * been seen yet. */
apr_size_t staple_cache_size_for(apr_size_t certificates);

/** Of a size that was asked for, as much as so many certificates can use: a
 * ring is made no larger than that. */
apr_size_t staple_cache_size_useful(apr_size_t size, apr_size_t certificates);

/**
 * Make the segment of a new generation and seed it: from conf->previous where
 * there is one, else from the file at conf->path. Records from memory are
 * served at once; records from a file are pending until staple_cache_confirm.
 * What is used of either is copied to private memory first, once, and checked
 * there; the next segment never becomes larger than the old one's size and
 * the number of certificates justify. Files of layout 3 and later are read.
 *
 * A copy of the new segment is written under a temporary name, locked (flock)
 * and renamed to conf->path, by a process that is forked for it, so that a file
 * system that hangs delays nobody else. Without a previous generation, and not
 * at a restart, this process reads what is there. What is found and is not a
 * ring file of this user is left alone, and so is one that another server has
 * locked; there is no file then. A ring file that cannot be used is renamed to
 * path.bad.
 *
 * Called in the parent, before children exist. It can only read the segment
 * afterwards, and so can its children. The mappings live until
 * staple_cache_unmap or staple_cache_release: no pool cleanup touches them.
 * A failure with the file is no failure: see report->new_file.
 *
 * @param cache the result, allocated from p
 * @param conf what to build; nothing of it is kept but by copy
 * @param report what was done; filled in on APR_SUCCESS
 * @return APR_SUCCESS; APR_ENOMEM and the like where no memory could be had
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

/** When it was made, as staple_cache_usage says at a greater price. */
apr_time_t staple_cache_created(const staple_cache_t *cache);

/** Where its file is or is to be; NULL: none is wanted. */
const char *staple_cache_path(const staple_cache_t *cache);

/** What this process has of a segment at this moment. */
staple_cache_kept_t *staple_cache_kept(staple_cache_t *cache);

/** Nothing is kept yet. */
void staple_cache_keep_nothing(staple_cache_kept_t *kept);

/** Give back what was kept of a generation; other processes keep theirs. */
void staple_cache_release(staple_cache_kept_t *kept);

/** The same for a cache; it must not be used again. */
void staple_cache_unmap(staple_cache_t *cache);

/* ---- Who writes. ---- */

/**
 * Become the writer. In a process that was forked for it, after the writer
 * before has ended; what that one had half done is finished by the calls that
 * follow. Threads of the process write one at a time; what several may call
 * at once says so.
 */
apr_status_t staple_cache_begin_writing(staple_cache_t *cache);

/** No other writer will be forked: give up what that takes, and end a helper
 * that is at work. In the parent, at the end of a generation; what it has can
 * be seeded from, as before. */
void staple_cache_end_writers(staple_cache_t *cache);

/** Give up all descriptors. In each child that is not the writer. */
void staple_cache_only_read(staple_cache_kept_t *kept);

/**
 * How the copy fares, called in the thread that copies when that changes.
 * @param rv why the file could not be written; APR_SUCCESS: it is whole again
 */
typedef void staple_cache_copied_fn(void *baton, apr_status_t rv);

/**
 * Begin to copy the segment to its file, in a thread of its own: once a second
 * what has changed, at once all of it if somebody else has written to the
 * file, and its time alone now and then while nothing changes. No fsync: a
 * checksum says what a crash has torn. The file is the one that was made last,
 * from the moment it is there. In the writer; where no file is wanted, nothing
 * happens. SIGXFSZ must be ignored.
 * @param p lives as long as the process writes
 */
apr_status_t staple_cache_begin_copying(staple_cache_t *cache,
                                        staple_cache_copied_fn *report,
                                        void *baton, apr_pool_t *p);

/**
 * Copy what is missing, with the counts of handshakes, and end the thread. If
 * that takes longer than `patience`, it is left to itself: the process has to
 * end by _exit.
 * @return whether the copy is complete
 */
int staple_cache_end_copying(staple_cache_t *cache,
                             apr_interval_time_t patience);

/** What became of a ring's file. */
typedef enum {
    STAPLE_CACHE_FILE_FINE, /* it is where it was, or none is wanted */
    STAPLE_CACHE_FILE_MADE, /* a new one was made, and the writer gets it */
    STAPLE_CACHE_FILE_LOST, /* none can be made at present */
    STAPLE_CACHE_FILE_LATE  /* the file system has not answered for a while */
} staple_cache_file_e;

/**
 * Have a new file made where the thread that copies has none, or one that has
 * lost its name; and hear what became of one that was begun. No file is touched
 * for it: that thread looks, and a helper makes.
 *
 * In the parent, now and then.
 * @param conf patience and on_fork count, as in staple_cache_create
 * @param report new_file is set where the file is LOST, and old_file where what
 *        was at the path was renamed, as in staple_cache_create; from p
 */
staple_cache_file_e staple_cache_check_file(staple_cache_t *cache,
                                            const staple_cache_conf_t *conf,
                                            staple_cache_report_t *report,
                                            apr_pool_t *p);

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

/** What is known of the certificate of a slot; all 0 and "" where there is no
 * such slot. */
void staple_cache_about(const staple_cache_t *cache, int slot,
                        staple_cache_about_t *about);

/** Certificates without a slot that are listed. */
apr_size_t staple_cache_others(const staple_cache_t *cache);

/** One of them, 0 .. staple_cache_others - 1. */
void staple_cache_other(const staple_cache_t *cache, apr_size_t i,
                        staple_cache_other_t *other);

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

/** How many slots still have a pending response. */
apr_size_t staple_cache_pending(const staple_cache_t *cache);

/**
 * Say what became of a pending response: true makes it the slot's response
 * (unless a newer one was stored meanwhile), false drops it. Threads of the
 * writer may call it at once for different slots, while none stores.
 */
apr_status_t staple_cache_confirm(staple_cache_t *cache, int slot, int is_true);

/**
 * Publish a verified response to every process at once. In the writer. The
 * caller decides whether it is newer than what is held; a pending response of
 * the slot is dropped.
 * @return APR_SUCCESS; APR_ENOSPC: the live responses do not leave room (the
 *         old one stays); APR_EINVAL: der_len is 0 or above
 *         STAPLE_CACHE_DER_MAX
 */
apr_status_t staple_cache_store(staple_cache_t *cache, int slot,
                                const unsigned char *der, apr_size_t der_len,
                                const staple_cache_meta_t *meta);

/** Drop the response of a slot, pending or not. In the writer. */
apr_status_t staple_cache_forget(staple_cache_t *cache, int slot);

/** Copy the refresh state of a slot; lock-free as staple_cache_read. */
void staple_cache_state(const staple_cache_t *cache, int slot,
                        staple_cache_state_t *state);

/** Replace the refresh state of a slot. In the writer. */
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
void staple_cache_count_served(const staple_cache_t *cache, int slot,
                               const staple_cache_served_t *more);

/**
 * What was counted of a slot so far, generations before this one included.
 * Lock-free. Any process may have written anything there: good for a page.
 */
void staple_cache_served(const staple_cache_t *cache, int slot,
                         staple_cache_served_t *sum);

/** What became of a handshake for which a must-staple certificate had nothing
 * to staple, where StapleMustStaple is strict or refuse. */
typedef enum {
    STAPLE_CACHE_MUST_AVOIDED, /* the client was given another certificate */
    STAPLE_CACHE_MUST_REFUSED, /* it was refused */
    STAPLE_CACHE_MUST_BROKEN,  /* it got that one, without a staple */
    STAPLE_CACHE_MUSTS         /* how many there are */
} staple_cache_must_e;

/**
 * Count one: a relaxed atomic addition, as staple_cache_count_served.
 * @return how many there were before, over all processes, since the segment was
 *         made
 */
apr_uint64_t staple_cache_count_must(const staple_cache_t *cache,
                                     staple_cache_must_e what);

/** How many there were since the segment was made. */
apr_uint64_t staple_cache_must(const staple_cache_t *cache,
                               staple_cache_must_e what);

/** How the share fares, over all writers of this server. */
typedef struct staple_cache_share_t {
    apr_uint64_t hits;       /* these seven as in staple_share_state_t */
    apr_uint64_t misses;
    apr_uint64_t foreign;
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
 * Add what the writer has counted of its share; the rest of `more` takes the
 * place of what was said before (an error only if there is one). In the writer.
 * Counters and the last error are taken over by the next generation.
 */
void staple_cache_count_share(staple_cache_t *cache,
                              const staple_cache_share_t *more);

/** Count a failure of one of STAPLE_CACHE_FAILURES kinds, which are the
 * caller's; others are not counted. In the writer. */
void staple_cache_count_failure(staple_cache_t *cache, unsigned int kind);

/** How many there were, generations before this one included. Lock-free. */
apr_uint64_t staple_cache_failures(const staple_cache_t *cache,
                                   unsigned int kind);

/** What was counted so far. Lock-free; each number is whole, all of them
 * together are a snapshot only while nobody counts. */
void staple_cache_share(const staple_cache_t *cache,
                        staple_cache_share_t *sum);

/** What an administrator asks of the refresher. */
typedef enum {
    STAPLE_CACHE_REFRESH = 1, /* ask for a new response at once */
    STAPLE_CACHE_FORGET = 2,  /* drop the held response before that, unless it
                                 is all that a must-staple certificate has */
    STAPLE_CACHE_FORCE = 4,   /* drop that one, too */
    STAPLE_CACHE_ALL = 8      /* of all slots, not of the one that is named */
} staple_cache_request_e;

/**
 * Leave a request for the refresher, in any thread of any process. Lock-free.
 * @param what staple_cache_request_e, or-ed
 * @return APR_SUCCESS; APR_EINVAL: no such slot; APR_EAGAIN: too many wait to
 *         be taken
 */
apr_status_t staple_cache_request(const staple_cache_t *cache, int slot,
                                  apr_uint32_t what);

/** How many requests may wait: those of the file's owner, and all others. */
#define STAPLE_CACHE_REQUESTS_MAX 14

/**
 * Take a request that nobody has taken yet; the refresher calls this at each
 * step, which costs a few loads. Lock-free. Those of the file's owner come
 * first.
 * @param are_all_heard whether those of other processes count; who never stops
 *        to ask would be heard for ever
 * @param slot whose request it is
 * @return staple_cache_request_e, or-ed; 0: there is none
 */
apr_uint32_t staple_cache_take_request(staple_cache_t *cache,
                                       int are_all_heard, int *slot);

/**
 * Leave a request in a ring's file and wait until a refresher has taken it,
 * which takes a second where one is at work with this file. What nobody takes
 * is taken back. In a program of the file's owner that is not the server.
 * @param cache the same file as staple_cache_open_file has read it; its slots
 *        have to be those of the file still
 * @param patience how long to wait, in all
 * @return APR_SUCCESS; APR_TIMEUP: nobody has taken it; APR_EAGAIN: too many
 *         requests wait; APR_EBUSY: another program has locked the places for
 *         them, or the file is on NFS, where the server's own lock does that;
 *         APR_EINVAL: the file is another one by now, or there is no such slot;
 *         else why the file cannot be written
 */
apr_status_t staple_cache_ask(const staple_cache_t *cache, const char *path,
                              int slot, apr_uint32_t what,
                              apr_interval_time_t patience);

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
