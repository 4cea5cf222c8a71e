/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_PROCESS_H
#define STAPLE_PROCESS_H

/*
 * The refresher process: one beside the children, forked and supervised by the
 * parent, without privileges. This room knows how it is born, watched and
 * ended; what it does all day is given to it as a staple_process_work_t.
 *
 * The order of calls, by process:
 *
 *   parent     staple_process_start       in post_config: forks it
 *              staple_process_supervise   in the monitor hook
 *              staple_process_note_child  in the child_status hook
 *              (its end is a cleanup of the pool given to start)
 *   refresher  begin, step ..., end       of the work
 *              staple_process_beat, _mark, _settle and _is_ending, from
 *              within
 *   children   staple_process_leave       in child_init
 *   any        staple_process_state
 *
 * What happens to it, and what the parent does:
 *
 *   it ends, killed or not     forked again: at once if it had given a
 *                              heartbeat, else after 1, 2, 4 ... 60 seconds
 *   its heartbeat is older     it gets SIGKILL, and is forked again
 *   than STAPLE_PROCESS_SILENCE
 *   it gives no heartbeat      the same (a lock that a thread of the parent
 *   that long after its fork   held at the fork is held for ever in it); but
 *                              once it looks up User and Group, after
 *                              STAPLE_PROCESS_LOOKUP_SILENCE
 *   its work ends the server   the parent sends itself SIGTERM
 *   stop, restart, graceful    SIGTERM, and SIGKILL after a tenth of a second
 *   the parent is killed       it goes on until the last child has ended
 *
 * Spans are measured by the monotonic clock: one that is set kills nobody.
 */

#include <httpd.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A refresher that says nothing for so long is taken for stuck. */
#define STAPLE_PROCESS_SILENCE apr_time_from_sec(5)

/** It looks up User and Group before it can do anything else, and a name
 * service (LDAP, NIS) may be slow: so long after its fork one that does is
 * taken for stuck. */
#define STAPLE_PROCESS_LOOKUP_SILENCE apr_time_from_sec(60)

/** What a step returns if the server is not to go on: the parent stops it as
 * after SIGTERM, with any MPM. Not with httpd -X, where nobody supervises. */
#define STAPLE_PROCESS_END_SERVER 23

/** What the process does. Called in it, by its first thread. */
typedef struct staple_process_work_t {
    /**
     * Prepare; a matter of a moment. Privileges are given up by then.
     * @param p lives as long as the process; it has no parent
     * @return APR_SUCCESS; else the process ends, and another one tries again
     */
    apr_status_t (*begin)(void *baton, apr_pool_t *p);
    /**
     * Do some of the work: for a second, say, or until there is none, with
     * staple_process_beat where that could take long. Called ten times a second
     * while there is none.
     * @return 0: go on; STAPLE_PROCESS_END_SERVER: this process ends, and the
     *         parent then stops the server; or another exit status to end with,
     *         24 to 63
     */
    int (*step)(void *baton);
    /** Save what there is to be saved: SIGKILL comes a tenth of a second after
     * SIGTERM did. */
    void (*end)(void *baton);
    void *baton;
} staple_process_work_t;

/** The refresher of one generation, as this process knows it. */
typedef struct staple_process_t staple_process_t;

/* ----- parent ----- */

/**
 * Fork the refresher, and register its supervision and its end with p. In
 * post_config, not in the dry run. Where only the fork fails, that is logged
 * and supervision tries again.
 * @param s the main server: whose error log is written, whose User and Group
 *        it gets
 * @param p the pool of the generation (pconf): when it is cleared the refresher
 *        ends, within a second or so, whatever state it is in
 * @param ptemp the pool of post_config of that name, which the parent destroys
 *        next; the refresher does the same. Nothing of the work may be in it.
 * @return APR_SUCCESS, or why there is no memory for its heartbeat
 */
apr_status_t staple_process_start(staple_process_t **process,
                                  const staple_process_work_t *work,
                                  server_rec *s, apr_pool_t *p,
                                  apr_pool_t *ptemp);

/** Look after it; in the monitor hook, that is about every ten seconds. */
void staple_process_supervise(staple_process_t *process);

/** Note that a child of httpd's has been started, or has ended (pid 0). What is
 * noted is looked at when the parent was killed. */
void staple_process_note_child(staple_process_t *process, int slot,
                               pid_t pid);

/* ----- the refresher ----- */

/** Give a heartbeat: a few nanoseconds. In the first thread only. */
void staple_process_beat(staple_process_t *process);

/**
 * Note that the bytes of a certificate are parsed or judged from here on, by
 * thread 0, 1, ...; a crash is counted against it. A few nanoseconds.
 * @param slot the certificate's; -1: none is any longer
 */
void staple_process_mark(staple_process_t *process, int thread, int slot);

/** Whether a refresher of this generation has crashed at a mark: then one
 * thread alone should have marks, so that they tell who it was. */
int staple_process_has_crashed(const staple_process_t *process);

/**
 * Whether a certificate is to be left alone, because refreshers have crashed
 * at its bytes three times.
 * @param is_new whether nobody has logged it yet
 * @return until when, by the wall clock; 0: it is not
 */
apr_time_t staple_process_set_aside(const staple_process_t *process, int slot,
                                    int *is_new);

/** Note that what is done once in a generation has been done, for those that
 * take this one's place; and ask. */
void staple_process_settle(staple_process_t *process);
int staple_process_is_settled(const staple_process_t *process);

/** Whether it has to end: told so, or nobody is left who needs it. A system
 * call; as often as ten times a second. */
int staple_process_is_ending(staple_process_t *process);

/** Note that a refresher of this generation has looked at all that lies in
 * files, and so has begun with what is due. */
void staple_process_note_look(staple_process_t *process);

/* ----- children ----- */

/** Give up the descriptors that are the parent's affair. */
void staple_process_leave(staple_process_t *process);

/* ----- any process, any thread ----- */

/** How the refresher fares. */
typedef struct staple_process_state_t {
    pid_t pid;           /* 0: none has given a heartbeat in this generation */
    apr_time_t born;     /* when this one began; 0: see pid */
    apr_uint32_t restarts; /* how many took a predecessor's place in this
                            generation */
    apr_interval_time_t silence; /* since its last heartbeat; -1: see pid */
} staple_process_state_t;

/** Whether staple_process_note_look was called in this generation. */
int staple_process_has_looked(const staple_process_t *process);

/** As the refresher itself tells: after its death, what it told last. */
void staple_process_state(const staple_process_t *process,
                          staple_process_state_t *state);

/**
 * Become User and Group of the main server for good, with ChrootDir, where the
 * server was started as root; one that was not stays what it is. For a process
 * that has just been forked, while it has one thread.
 * @return NULL, or what is wrong, in words, from p: it must end then
 */
const char *staple_process_drop_privileges(server_rec *s, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_PROCESS_H */
