/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Whether the file systems of StapleResponseFile and StapleResponseDirectory
 * answer: to look at a file may take for ever (NFS, a disk that is failing),
 * and the first thread has responders to ask.
 *
 * The one idea: a thread of its own does first what the first thread is about
 * to do, opens each file and reads of it. Where that does not end in time,
 * nothing is looked at until it does; it is the thread that waits. The process
 * ends without it.
 */

#include "refresh_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>

#include "staple_clock.h"
#include "staple_magic.h"
#include "staple_wait.h"

/* How long the first thread waits for a check, once. */
#define PATIENCE SECONDS(2)

#define FILE_CHECK_MAGIC 0x46434845u

struct staple_refresh_file_check_t {
    staple_magic_t magic;
    const char **paths; /* with NULL at the end */
    staple_wait_t *wait; /* guards what follows */
    int asked;          /* checks that were asked for, and */
    int done;           /* those that have ended */
    int is_late;        /* that was told; of the first thread alone */
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

/* Ask for a check, and wait a moment for its end; if the one before is still
 * under way, not even that. */
static int has_answered(file_check_t *check)
{
    apr_time_t until = staple_clock_now() + PATIENCE;
    int has_ended;

    staple_wait_lock(check->wait);
    if (check->done == check->asked) {
        check->asked++;
        staple_wait_wake(check->wait);
        while (check->done != check->asked && staple_clock_now() < until) {
            staple_wait_until(check->wait, until);
        }
    }
    has_ended = check->done == check->asked;
    staple_wait_unlock(check->wait);
    return has_ended;
}

int staple_refresh_do_files_answer(staple_refresh_t *refresh)
{
    file_check_t *check = refresh->file_check;
    int has_ended = !check || has_answered(check);

    if (check && check->is_late != !has_ended) {
        check->is_late = !has_ended;
        staple_refresh_log_file_systems(refresh->conf.server, has_ended);
    }
    return has_ended;
}
