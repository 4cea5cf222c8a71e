/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Whether the file systems of StapleResponseFile and StapleResponseDirectory
 * answer: to look at a file may take for ever (NFS, a disk that is failing),
 * and the first thread has responders to ask.
 *
 * The one idea: a thread of its own does first what the first thread is about
 * to do, opens each file and reads of it. The first thread waits a moment for
 * it, and looks at the files in the step after its end, however late that is.
 * Nobody joins the thread; but where a signal does not wake it, the process is
 * not gone before the file system answers.
 */

#include "refresh_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>

#include "staple_clock.h"
#include "staple_magic.h"
#include "staple_wait.h"

/* How long the first thread waits for a check, once: longer for the first one,
 * since what lies in files is to be known before anybody is asked. */
#define FIRST_PATIENCE apr_time_from_msec(500)
#define PATIENCE apr_time_from_msec(20)

/* After how long it is said that a file system does not answer. */
#define LATE SECONDS(2)

#define FILE_CHECK_MAGIC 0x46434845u

struct staple_refresh_file_check_t {
    staple_magic_t magic;
    const char **paths; /* with NULL at the end */
    staple_wait_t *wait; /* guards what follows */
    int asked;          /* checks that were asked for, and */
    int done;           /* those that have ended */

    /* Of the first thread alone. */
    apr_time_t began;   /* the last check */
    int is_under_way;   /* it was not seen to end yet */
    int is_late;        /* that was told */
};

/* ----- in the thread ----- */

static void try_directory(int fd)
{
    DIR *directory = fdopendir(fd);

    if (!directory) {
        close(fd);
        return;
    }
    (void)readdir(directory);
    closedir(directory);
}

/* What it brings does not matter. */
static void try_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat info;
    char byte;

    if (fd < 0) {
        return;
    }
    if (!fstat(fd, &info) && S_ISDIR(info.st_mode)) {
        try_directory(fd);
        return;
    }
    if (S_ISREG(info.st_mode) && read(fd, &byte, 1) < 0) {
        /* an error is an answer, too */
    }
    close(fd);
}

static void *APR_THREAD_FUNC check_on(apr_thread_t *thread, void *data)
{
    file_check_t *check = STAPLE_CAST(file_check_t, FILE_CHECK_MAGIC, data);
    const char **path;

    (void)thread;
    staple_wait_lock(check->wait);
    for (;;) {
        while (check->done == check->asked) {
            staple_wait_until(check->wait, STAPLE_WAIT_NEVER);
        }
        staple_wait_unlock(check->wait);
        for (path = check->paths; *path; path++) {
            try_path(*path);
        }
        staple_wait_lock(check->wait);
        check->done = check->asked;
        staple_wait_wake(check->wait);
    }
    return NULL;
}

/* ----- in the first thread ----- */

static const char **paths_of(const staple_refresh_t *refresh)
{
    const apr_array_header_t *files = refresh->files;
    const char **paths = apr_pcalloc(refresh->pool,
                                     ((apr_size_t)files->nelts + 2)
                                     * sizeof(*paths));
    int i;

    for (i = 0; i < files->nelts; i++) {
        paths[i] = APR_ARRAY_IDX(files, i, response_file_t).path;
    }
    paths[i] = refresh->directory.self.path;
    return paths;
}

void staple_refresh_begin_file_checks(staple_refresh_t *refresh)
{
    file_check_t *check = apr_pcalloc(refresh->pool, sizeof(*check));

    check->magic = FILE_CHECK_MAGIC;
    check->paths = paths_of(refresh);
    if (*check->paths
        && !staple_wait_make(&check->wait, refresh->pool)
        && !staple_wait_start(check_on, check, refresh->pool)) {
        refresh->file_check = check;
    }
}

/* Also until the process is told to end. */
static void wait_a_moment(const file_check_t *check,
                          const staple_refresh_conf_t *conf)
{
    apr_time_t until = check->began
                       + (check->asked == 1 ? FIRST_PATIENCE : PATIENCE);
    apr_time_t now;

    while (check->done != check->asked && !conf->is_ending(conf->baton)
           && (now = staple_clock_now()) < until) {
        staple_wait_until(check->wait, until - now < PATIENCE
                                       ? until : now + PATIENCE);
    }
}

/* Whether a check has ended; if none is under way, one is asked for. */
static int has_ended(file_check_t *check, const staple_refresh_conf_t *conf)
{
    staple_wait_lock(check->wait);
    if (!check->is_under_way) {
        check->asked++;
        check->began = staple_clock_now();
        staple_wait_wake(check->wait);
        wait_a_moment(check, conf);
    }
    check->is_under_way = check->done != check->asked;
    staple_wait_unlock(check->wait);
    return !check->is_under_way;
}

/* It is over when a check ends in time: on a file system that is always slow,
 * each one is late and ends. */
static void tell(file_check_t *check, server_rec *s)
{
    int is_late = staple_clock_now() - check->began > LATE;

    if (check->is_late != is_late && (is_late || !check->is_under_way)) {
        check->is_late = is_late;
        staple_refresh_log_file_systems(s, !is_late);
    }
}

int staple_refresh_do_files_answer(staple_refresh_t *refresh)
{
    file_check_t *check = refresh->file_check;
    int do_answer = !check || has_ended(check, &refresh->conf);

    if (check) {
        tell(check, refresh->conf.server);
    }
    return do_answer;
}

int staple_refresh_are_files_late(const staple_refresh_t *refresh)
{
    return refresh->file_check && refresh->file_check->is_late;
}
