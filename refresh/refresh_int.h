/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_REFRESH_INT_H
#define STAPLE_REFRESH_INT_H

/*
 * What the files of the refresh have in common and nobody else sees. The
 * refresher's first thread only, but for refresh/start.c.
 */

#include <stddef.h> /* first: the rings of APR want its offsetof */

#include <apr_hash.h>
#include <apr_ring.h>

#include "staple_refresh.h"
#include "staple_magic.h"
#include "staple_message.h"
#include "staple_ocsp.h"
#include "staple_rules.h"
#include "staple_state.h"
#include "staple_words.h"
#include "due.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SECONDS(n) apr_time_from_sec((apr_interval_time_t)(n))

typedef struct staple_refresh_round_t round_t;

/** How bad it is, in order; told when it gets worse, and when it is over. */
typedef enum {
    ALARM_NONE,    /* the last attempt succeeded, or there was none */
    ALARM_FAILING, /* no new response, time enough */
    ALARM_URGENT,  /* and less than a tenth of the held one's validity left */
    ALARM_REFUSED  /* must-staple, and nothing to staple */
} alarm_e;

typedef struct task_t task_t;

/** What is known of a responder, a URL; lives as long as the refresh. */
typedef struct outage_t {
    const char *url;
    apr_time_t answered_at; /* last; 0: never */
    apr_time_t since;       /* when a certificate without a valid response began
                               to wait for it; 0: none does */
    apr_time_t next_probe;
    apr_time_t not_before;  /* as the responder has asked for; 0: it has not */
    int claimed;            /* probes in a row that other servers had claimed */
    apr_size_t turn;        /* the slot from which the next probe is taken */
    task_t *candidate;      /* for the next probe; only within a step */
    int failing;            /* certificates that are counted as failing, */
    int failed;             /* and how many were since it began */
    apr_time_t failing_since; /* when it began; means nothing where none is */
} outage_t;

/** A certificate as the refresher sees it. */
struct task_t {
    staple_refresh_t *refresh;
    staple_cert_t *cert;
    apr_time_t due;     /* changed by staple_refresh_set_due only */
    round_t *round;     /* under way, or NULL */
    int first_url;      /* the responder that worked last */
    alarm_e alarm;      /* told last */
    int is_expired;     /* the certificate's end was told */
    int is_set_aside;   /* until due, because refreshers crashed at its bytes */
    int is_suspect;     /* its own last question went unanswered */
    int is_without_issuer; /* and that is being fetched */
    char *etag;         /* validators of the held response, as first_url gave */
    char *last_modified; /* them, of malloc; NULL: none */
    int is_missing;     /* no valid response is held, as of the last look;
                           changed by staple_refresh_set_missing only */
    int is_without_room; /* its last response did not fit, and that was told */
    APR_RING_ENTRY(task_t) missing; /* in the refresh's, if it is */
    apr_time_t failing_since; /* when the first of the failures in a row was
                           noted; 0: the last attempt succeeded */
    outage_t *counted;  /* the responder with which it is counted as failing;
                           NULL: with none */
};
APR_RING_HEAD(staple_refresh_missing_t, task_t);

#define ROUND_MAGIC 0x524F554Eu

/** One attempt to renew one response: a block of malloc, as ten thousand of
 * them may wait for their turn. */
struct staple_refresh_round_t {
    staple_magic_t magic;
    task_t *task;
    apr_pool_t *pool;    /* from its first answer on; NULL before */
    staple_ocsp_hash_e hash;
    int is_second_hash;            /* whether hash is the other one already */
    staple_ocsp_verdict_t verdict; /* of the last answer judged */
    int is_judged;                 /* whether verdict was filled in */
    const unsigned char *error;    /* a responder's error response, kept for
                                      SSLStaplingReturnResponderErrors */
    apr_size_t error_len;
    int is_shared;           /* the response came from the share */
    int has_met_outage;      /* of one of its URLs, but for the last */
    apr_interval_time_t retry_after; /* the longest that those asked for; -1 */
    staple_ocsp_verdict_t first; /* where is_second_hash: verdict before that */
    const staple_cache_state_t *noted; /* how it ended, while that is settled;
                                NULL before */
    apr_time_t started;
    outage_t *probed;        /* the responder that it is a probe of; NULL: it is
                                none */
    apr_time_t wake;         /* when to look into the share again; 0: not
                                waiting for another server */
    apr_time_t wait_until;   /* when to stop waiting for it */
};

/** What the ring holds for a certificate at one moment. */
typedef struct held_t {
    int is_there;             /* whether there is anything at all */
    staple_cache_meta_t meta;
    apr_size_t len;           /* its bytes */
    apr_time_t until;         /* until when it may be served; 0: it may not */
} held_t;

/** A response that was judged and is believed. */
typedef struct believed_t {
    const staple_ocsp_verdict_t *verdict;
    const unsigned char *der;
    apr_size_t len;
} believed_t;

/** A file of StapleResponseFile, watched: as it was at the last look. */
typedef struct response_file_t {
    const char *path;
    int is_seen;        /* whether there was a look */
    int is_short;       /* it could not be read for a shortage; that was told */
    apr_time_t mtime;   /* these are 0 where there was no file */
    apr_time_t ctime;
    apr_off_t size;
    apr_ino_t inode;
} response_file_t;

/** StapleResponseDirectory, watched. */
typedef struct response_directory_t {
    response_file_t self; /* path NULL: none */
    apr_time_t due;       /* when to look at it */
    apr_time_t looked;    /* when that was done last; 0: never, or something
                             could not be looked at */
    int is_refused;       /* the last look was such a one, and that was told */
    /* The files that were warned about last, and how often in this minute. */
    response_file_t told[16];
    apr_size_t told_count;
    apr_time_t minute;    /* when it began */
    int warnings;         /* in this minute, and */
    int unsaid;           /* files that there was no warning left for */
} response_directory_t;

/** The thread that tries the administrator's files first. */
typedef struct staple_refresh_file_check_t file_check_t;

#define REFRESH_MAGIC 0x52454652u

/** The refresh of a generation. */
struct staple_refresh_t {
    staple_magic_t magic;
    staple_refresh_conf_t conf;
    apr_pool_t *pool;           /* of all this */
    int is_begun;               /* whether there was a first step */
    staple_fetch_t *fetch;
    task_t *tasks;              /* those with a slot, by slot */
    apr_size_t count;           /* of tasks */
    apr_size_t first;           /* of them, whose turn is the first next time */
    staple_due_t *due;          /* when each wants something: it is due, or its
                                   round is to look into the share again */
    int busiest;                /* most jobs at a time since memory was given
                                   back */
    apr_pool_t *scratch;        /* cleared after each request that is made */
    apr_size_t *turns;          /* room for those that are sent off in a step */
    struct staple_refresh_missing_t missing; /* tasks without a valid
                                   response */
    apr_hash_t *other_hash;     /* URLs of responders that answer only the
                                   other hash than the usual one */
    apr_hash_t *overdue;        /* URLs of responders of which was told that
                                   they give out old responses */
    apr_hash_t *outages;        /* outage_t, by URL */
    apr_time_t probes_due;      /* when to look whether one is due */
    apr_array_header_t *files;  /* response_file_t */
    staple_message_t *message;  /* NULL: nobody is to be told */
    apr_time_t files_due;       /* when to look at them */
    response_directory_t directory;
    file_check_t *file_check;   /* NULL: there are none, or no thread for it */
    int has_looked;             /* at all that lies in files, if any does */
    staple_share_state_t share_told; /* what the ring has of the share's */
    apr_time_t wall, mono;      /* the clocks at the last step */
    unsigned char *buf;         /* room for any response */
};

/** The clock was set: keep a moment of this process at its distance. 0 is
 * none. */
static inline void staple_refresh_shift(apr_time_t *moment,
                                        apr_interval_time_t jump)
{
    if (*moment) {
        *moment += jump;
    }
}

/* ----- staple_refresh.c ----- */

/** Change when a task is due. */
void staple_refresh_set_due(task_t *task, apr_time_t due);

/** The same because its round, or whether it waits for its issuer, or when its
 * round wakes has changed. */
void staple_refresh_replan(const task_t *task);

/* ----- refresh/held.c ----- */

/**
 * What is held at a moment. The bytes are copied, to have them checked, into
 * buf, which has room for any response.
 */
held_t staple_refresh_read_held_into(const staple_cache_t *cache,
                                     const staple_cert_t *cert, apr_time_t now,
                                     unsigned char buf[STAPLE_CACHE_DER_MAX]);

/** The same, with the refresher's own buffer. */
held_t staple_refresh_read_held(staple_refresh_t *refresh,
                                const staple_cert_t *cert, apr_time_t now);

/**
 * staple_rules_is_believed, with a mark while the bytes are judged: a crash is
 * counted against the certificate.
 * @param thread 0: the first one
 */
int staple_refresh_is_believed(const staple_refresh_t *refresh, int thread,
                               const staple_cert_t *cert,
                               const unsigned char *der, apr_size_t len,
                               staple_ocsp_verdict_t *verdict);

/** Whether a valid response, and no error, is served. */
int staple_refresh_is_valid(const held_t *held);

/** Whether what is held, valid still or not, says revoked: that was told. */
int staple_refresh_is_revocation(const held_t *held);

/** Whether a valid response is held for a certificate. */
int staple_refresh_is_held(staple_refresh_t *refresh, const staple_cert_t *cert,
                           apr_time_t now);

/** Whether a believed response should take the place of what is held. */
int staple_refresh_is_improvement(const staple_cert_t *cert,
                                  const held_t *held,
                                  const believed_t *response, apr_time_t now);

/** What became of a believed response. */
typedef enum {
    STORE_UNWANTED, /* what is held is as good */
    STORE_NO_ROOM,  /* it is better, and the ring cannot take it */
    STORE_DONE
} store_e;

/**
 * Store a believed response if it is wanted; tell of a revocation, and of its
 * end.
 */
store_e staple_refresh_store_wanted(staple_refresh_t *refresh,
                                    const staple_cert_t *cert,
                                    const held_t *held,
                                    const believed_t *response,
                                    apr_pool_t *ptemp);

/** Publish bytes as they are, and tell if there is no room. */
apr_status_t staple_refresh_store(staple_refresh_t *refresh,
                                  const staple_cert_t *cert,
                                  const unsigned char *der, apr_size_t len,
                                  const staple_cache_meta_t *meta);

/** How bad it is that nothing newer could be had. */
alarm_e staple_refresh_alarm_of(const staple_cert_t *cert, const held_t *held,
                                apr_time_t now);

/** The state of a certificate with what is held at this moment, as the status
 * page shows it. */
staple_state_e staple_refresh_state_of(staple_refresh_t *refresh,
                                       const staple_cert_t *cert,
                                       const staple_cache_state_t *exchange,
                                       apr_time_t now);

/**
 * Note in a state whether the certificate needs attention with it and with what
 * is held at this moment.
 */
void staple_refresh_note_since(staple_refresh_t *refresh,
                               const staple_cert_t *cert,
                               staple_cache_state_t *state, apr_time_t now);

/** The same in the ring, if that has changed: no exchange has ended, and
 * something else is held. */
void staple_refresh_renew_since(staple_refresh_t *refresh,
                                const staple_cert_t *cert, apr_time_t now);

/* ----- refresh/start.c ----- */

/** Judge what was taken over from a ring file, on as many threads as there are
 * processors, must-staple certificates first. */
void staple_refresh_confirm(const staple_refresh_t *refresh);

/** Whether refreshers have crashed at a certificate's bytes. Any thread. */
int staple_refresh_is_set_aside(const staple_refresh_conf_t *conf,
                                const staple_cert_t *cert);

/* ----- refresh/outcome.c ----- */

/** What the answer to a round means: store it, note it, tell it, and plan the
 * next one. */
void staple_refresh_conclude(round_t *round,
                             const staple_fetch_answer_t *answer);

/** The same for a probe, which is no attempt of its certificate, unless it
 * brings a response. */
void staple_refresh_settle_probe(round_t *round,
                                 const staple_fetch_answer_t *answer);

/** Whether a failure says that the responder, rather than the certificate, is
 * the matter. */
int staple_refresh_is_outage(const round_t *round,
                             const staple_fetch_answer_t *answer);

/** The URL that is asked first; the certificate's own string, which outlives
 * any exchange. */
const char *staple_refresh_first_url(const task_t *task);

/** The next question is about whatever there is: drop the validators. */
void staple_refresh_forget_validators(task_t *task);

/**
 * An attempt that a refresher began, and ended in the middle of, is an attempt
 * that failed: count it, and go on to the certificate's next URL.
 */
void staple_refresh_settle_interrupted(task_t *task,
                                       staple_cache_state_t *state);

/* ----- refresh/round.c ----- */

/** Note that the attempt of a round is none: it was ended in good order. */
void staple_refresh_drop_round(const round_t *round);

/** Start a round for a task that has none. */
void staple_refresh_begin_round(task_t *task, apr_time_t now);

/** The clock was set: a round waits for as long as before. */
void staple_refresh_shift_round(round_t *round, apr_interval_time_t jump);

/** Go on with a round that waits for another server (its wake has come). */
void staple_refresh_ask_share(round_t *round);

/** Start one question about the task's certificate to one responder, beside
 * whatever else the task has under way. */
void staple_refresh_begin_probe(task_t *task, outage_t *probed,
                                apr_time_t now);

/* ----- refresh/recovery.c ----- */

/** Note whether anything valid is held for a task. */
void staple_refresh_set_missing(task_t *task, int is_missing);

/** Count a certificate as failing with its responder, and tell of the first. */
void staple_refresh_count_outage(const round_t *round,
                                 const staple_fetch_answer_t *answer,
                                 const staple_cache_state_t *state,
                                 apr_time_t now);

/** It fails no longer; tell when it was the last. */
void staple_refresh_count_recovery(task_t *task, apr_time_t now);

/** How many certificates name a responder. */
int staple_refresh_count_named(const staple_refresh_t *refresh,
                               const char *url);

/** A responder may have said when to ask again: for how long no probe is sent
 * to it. */
void staple_refresh_note_pause(const task_t *task,
                               const staple_fetch_answer_t *answer,
                               apr_time_t now);

/** A round has failed because a responder did not answer. */
void staple_refresh_note_outage(task_t *task,
                                const staple_fetch_answer_t *answer,
                                apr_time_t now);

/** A responder has answered: what waits for it is due at once. */
void staple_refresh_note_answer(staple_refresh_t *refresh, const char *url,
                                apr_time_t now);

/** A probe was in vain. */
void staple_refresh_note_probe_failure(outage_t *outage,
                                       const staple_fetch_answer_t *answer,
                                       apr_time_t now);

/** The clock was set: probes are as far away as before. */
void staple_refresh_shift_outages(staple_refresh_t *refresh,
                                  apr_interval_time_t jump);

/** Send the probes that are due. */
void staple_refresh_send_probes(staple_refresh_t *refresh, apr_time_t now);

/* ----- refresh/issuer.c ----- */

/** Fetch the issuer of a certificate; the task is due again when it is there,
 * or when it is to be tried again. */
void staple_refresh_fetch_issuer(task_t *task, apr_time_t now);

/** Take issuers out of the ring, if they are; before anything is confirmed. */
void staple_refresh_adopt_issuers(staple_refresh_t *refresh);

/* ----- refresh/log.c: once per change of state, to the error log and
 * to the program of StapleMessageCmd ----- */

/** An issuer was fetched, or was not, for the failing-th time in a row. */
void staple_refresh_log_issuer(server_rec *s, const staple_cert_t *cert,
                               const char *url);
void staple_refresh_log_no_issuer(server_rec *s, const task_t *task,
                                  const staple_fetch_answer_t *answer,
                                  int failing);
void staple_refresh_log_no_room(server_rec *s, const staple_cert_t *cert,
                                apr_status_t rv);
void staple_refresh_log_revoked(staple_refresh_t *refresh,
                                const staple_cert_t *cert,
                                const staple_ocsp_verdict_t *verdict,
                                apr_pool_t *ptemp);
/** The CA says good again of what it had revoked. */
void staple_refresh_log_unrevoked(staple_refresh_t *refresh,
                                  const staple_cert_t *cert,
                                  const staple_ocsp_verdict_t *verdict,
                                  apr_pool_t *ptemp);
void staple_refresh_log_expired(server_rec *s, const staple_cert_t *cert);
void staple_refresh_log_set_aside(server_rec *s, const staple_cert_t *cert);
void staple_refresh_log_no_request(server_rec *s, const staple_cert_t *cert,
                                   apr_status_t rv);
/** @param alarm how bad it is now; task->alarm is what was told before */
void staple_refresh_log_failure(server_rec *s, const round_t *round,
                                const held_t *held,
                                const staple_fetch_answer_t *answer,
                                apr_interval_time_t pause, alarm_e alarm);
void staple_refresh_log_success(server_rec *s, const round_t *round,
                                const staple_fetch_answer_t *answer,
                                apr_time_t until, int was_failing,
                                int is_new);
/** Prepare to run the program that is to be told; where it cannot be, log. */
void staple_refresh_log_open(staple_refresh_t *refresh);
/** A certificate that is served from a file alone, whose response nears its
 * end. */
void staple_refresh_log_reminder(server_rec *s, const task_t *task,
                                 const held_t *held, alarm_e alarm,
                                 apr_pool_t *ptemp);
/** A file has brought what was missing. */
void staple_refresh_log_file_taken(server_rec *s, const staple_cert_t *cert,
                               const staple_ocsp_verdict_t *verdict);
/** A response that is not renewed in time, and what to ask of the CA. */
void staple_refresh_log_overdue(server_rec *s, const round_t *round,
                                const staple_fetch_answer_t *answer,
                                apr_time_t now);
/** The first certificate fails with a responder; the round's is that one. */
void staple_refresh_log_outage(const round_t *round,
                               const staple_fetch_answer_t *answer,
                               const staple_cache_state_t *state);

/** None does any more. */
void staple_refresh_log_outage_over(server_rec *s, const outage_t *outage,
                                    apr_interval_time_t after);

/** A responder that certificates waited for answers again. */
void staple_refresh_log_answers_again(server_rec *s, const char *url,
                                      apr_interval_time_t after);
void staple_refresh_log_probe(server_rec *s, const round_t *round,
                              const staple_fetch_answer_t *answer);
/** Have the steps of each exchange logged, where the level is TRACE2; before
 * the fetch engine is made. */
void staple_refresh_log_exchanges(staple_refresh_t *refresh);
/** What a file brought has been judged. */
void staple_refresh_log_confirmed(server_rec *s, int count, int threads,
                                  apr_interval_time_t took);
void staple_refresh_log_clock(server_rec *s, apr_interval_time_t jump);

/** Of so many files of StapleResponseDirectory nothing was said. */
void staple_refresh_log_unsaid(server_rec *s, const char *path, int count);

/** What is in StapleResponseDirectory, or that itself, cannot be read. */
void staple_refresh_log_not_read(server_rec *s, const char *path,
                                 const char *reason);

/** The file systems of what the administrator has put there do not answer, or
 * do so again. */
void staple_refresh_log_file_systems(server_rec *s, int do_answer);

/** The file was looked at and holds nothing of use. */
void staple_refresh_file_log(server_rec *s, const response_file_t *file,
                             const char *reason);

/* ----- refresh/response_file.c ----- */

/** Whether the file is another than at the last look, if there was one; one
 * that cannot be read is looked at again when that changes. */
int staple_refresh_is_file_changed(response_file_t *file, apr_pool_t *ptemp);

/** Whether what could not be read may be readable the next time, without any
 * change to it. */
int staple_refresh_is_shortage(apr_status_t rv);

/** Read DER, or PEM ("OCSP RESPONSE").
 * @param der, len from ptemp
 * @param reason where it fails: finishes "the file ..." */
apr_status_t staple_refresh_read_file(const char *path,
                                      const unsigned char **der,
                                      apr_size_t *len, const char **reason,
                                      apr_pool_t *ptemp);

/** Offer a file's response to one certificate; returns why it is not its. */
staple_ocsp_reason_e staple_refresh_offer(task_t *task,
                                          const unsigned char *der,
                                          apr_size_t len, apr_pool_t *ptemp);

/** Watch the files that a certificate may be stapled from. */
void staple_refresh_add_files(staple_refresh_t *refresh,
                              const staple_cert_t *cert);

/** Read all files again, as if they had changed. */
void staple_refresh_forget_files(staple_refresh_t *refresh);

/** Take over what has changed in files, if it is time to look. */
void staple_refresh_look_at_files(staple_refresh_t *refresh, apr_time_t now);

/** Whether it is time to look at them. */
int staple_refresh_are_files_due(const staple_refresh_t *refresh,
                                 apr_time_t now);

/** A task without a responder is due: tell that its file has nothing newer. */
void staple_refresh_remind(task_t *task, apr_time_t now);

/* ----- refresh/response_directory.c ----- */

/** Take over what has come into StapleResponseDirectory, if there is one and if
 * it is time to look. */
void staple_refresh_look_at_directory(staple_refresh_t *refresh,
                                      apr_time_t now);

/** Whether it is time to look into it. */
int staple_refresh_is_directory_due(const staple_refresh_t *refresh,
                                    apr_time_t now);

/* ----- refresh/file_check.c ----- */

/** Start the thread, when all files are known. */
void staple_refresh_begin_file_checks(staple_refresh_t *refresh);

/**
 * Whether the file systems of what the administrator has put there have just
 * answered, so that the first thread may look at it now. If they do not at
 * once, waits a moment (20 ms; half a second the first time), and once only
 * until they do.
 */
int staple_refresh_do_files_answer(staple_refresh_t *refresh);

/** Whether they have not answered for two seconds, or took that long last. */
int staple_refresh_are_files_late(const staple_refresh_t *refresh);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_REFRESH_INT_H */
