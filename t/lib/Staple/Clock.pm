# Licensed under the Apache License, Version 2.0; see LICENSE.

# The wall clock of httpd alone, which a test sets with libfaketime.
#
#   use Staple::Clock;
#   plan skip_all => Staple::Clock->lacking if Staple::Clock->lacking;
#   my $clock = Staple::Clock->new;    # before httpd starts
#   $clock->set(-7200);                # seconds from ours

package Staple::Clock;

use strict;
use warnings;

use Staple::Work qw(work_dir write_file);

sub _library
{
    my ($path) = grep { -e }
        map { ("$_/libfaketimeMT.so.1", "$_/libfaketime.so.1") }
        map { glob "$_/faketime" } qw(/usr/lib/* /usr/lib64 /usr/lib);

    return $path;
}

# Why it cannot be set here; '': it can.
sub lacking
{
    return 'no libfaketime (Debian: libfaketime)' if !_library();
    return $ENV{STAPLE_PRELOAD}
        ? 'a runtime of sanitizers and libfaketime do not mix' : '';
}

# Every httpd that is started from now on has it; the steady clock stays ours.
sub new
{
    my ($class) = @_;
    my $self = bless { file => work_dir() . '/clock' }, $class;

    $self->set(0);
    $ENV{STAPLE_PRELOAD} = _library();
    $ENV{FAKETIME_TIMESTAMP_FILE} = $self->{file};
    $ENV{FAKETIME_NO_CACHE} = 1;
    $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
    $ENV{DONT_FAKE_MONOTONIC} = 1;
    return $self;
}

sub set
{
    my ($self, $seconds) = @_;

    write_file("$self->{file}.new", sprintf "%+d\n", $seconds);
    rename "$self->{file}.new", $self->{file}
        or die "cannot rename to $self->{file}: $!\n";
}

1;
