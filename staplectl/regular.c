/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Opening a file in a directory of others, who may put anything there, and
 * exchange it at any moment: a pipe would make us wait, and to open a device
 * may do something (a watchdog begins to count).
 *
 * The one idea: where the system has O_PATH, what the path leads to is held
 * without being opened, asked what it is, and opened then by way of /proc.
 */

#include "staplectl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_regular(const struct stat *info, apr_off_t max)
{
    return S_ISREG(info->st_mode) && info->st_size <= max;
}

static int open_path(const char *path)
{
    return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

#ifdef O_PATH

static int open_if_regular(const char *path, apr_off_t max)
{
    char name[40];
    struct stat info;
    int fd = -1, handle = open(path, O_PATH | O_CLOEXEC);

    if (handle < 0) {
        return -1;
    }
    if (fstat(handle, &info) || !is_regular(&info, max)) {
        errno = EINVAL;
    }
    else {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", handle);
        fd = open_path(name);
        if (fd < 0 && errno == ENOENT) { /* there is no /proc */
            fd = open_path(path);
        }
    }
    close(handle);
    return fd;
}

#else

static int open_if_regular(const char *path, apr_off_t max)
{
    struct stat info;

    if (stat(path, &info)) {
        return -1;
    }
    if (!is_regular(&info, max)) {
        errno = EINVAL;
        return -1;
    }
    return open_path(path);
}

#endif

int staplectl_open_regular(const char *path, apr_off_t max)
{
    struct stat info;
    int fd = open_if_regular(path, max);

    if (fd >= 0 && (fstat(fd, &info) || !is_regular(&info, max))) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    return fd;
}
