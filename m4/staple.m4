# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# What configure.ac needs besides Autoconf's own macros: compiler flags that
# are used only where they are known, and missing things that are named all at
# once, with the package that has them.

# STAPLE_CC_FLAGS(VARIABLE, FLAGS...)
# Append to VARIABLE each of FLAGS that the compiler takes without a remark.
AC_DEFUN([STAPLE_CC_FLAGS], [
  staple_save_CFLAGS=$CFLAGS
  for staple_flag in $2; do
    AC_MSG_CHECKING([whether $CC takes $staple_flag])
    CFLAGS="$staple_save_CFLAGS -Werror $staple_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM],
      [AC_MSG_RESULT([yes])
       $1="$$1 $staple_flag"],
      [AC_MSG_RESULT([no])])
  done
  CFLAGS=$staple_save_CFLAGS
])

# STAPLE_LACKS(WHAT, DEBIAN-PACKAGE, RHEL-PACKAGE)
# Remember that WHAT is missing.
AC_DEFUN([STAPLE_LACKS], [
  staple_lacks="$staple_lacks
  - $1
      Debian, Ubuntu: apt-get install $2
      RHEL, Fedora:   dnf install $3"
])

# STAPLE_REFUSE_LACKS
# Stop if anything was missing so far.
AC_DEFUN([STAPLE_REFUSE_LACKS], [
  AS_IF([test -n "$staple_lacks"],
    [AC_MSG_ERROR([this is missing:
$staple_lacks
])])
])

# STAPLE_SYSTEM_INCLUDES(FLAGS)
# The shell word that prints FLAGS with -I turned into -isystem: the headers of
# others are not held against our warnings. /usr/include is dropped, for it is
# searched anyway and must not move to the front.
AC_DEFUN([STAPLE_SYSTEM_INCLUDES],
  [`AS_ECHO([" $1 "]) | sed -e 's| -I */usr/include | |g' dnl
-e 's| -I */| -isystem /|g' -e 's|^ *||;s| *$||'`])
