# Licensed under the Apache License, Version 2.0; see LICENSE.

# A file system that stops to answer when a test says so (t/tools/hangfs).
#
#   my $disk = Staple::Disk->new or plan skip_all => 'no FUSE';
#   my $path = $disk->path . '/file';
#   $disk->tell('hang');    # who waits for it can be killed
#   $disk->tell('hold');    # ... and now not even that
#   $disk->tell('slow 9');  # a file opens after so many milliseconds
#   $disk->tell('fail');    # no file opens
#   $disk->tell('go');
#
# Only root can mount it. It is unmounted at the end.

package Staple::Disk;

use strict;
use warnings;

use IPC::Open2 qw(open2);
use Test::More;

use Staple::Work qw(build_dir work_dir);

my @disks;

# Undefined where it cannot be mounted.
sub new
{
    my ($class) = @_;
    my $self = bless { path => work_dir() . '/mount' . @disks }, $class;

    return if $> != 0;
    mkdir $self->{path} or die "$self->{path}: $!";
    $self->{pid} = open2($self->{from}, $self->{to},
                         build_dir() . '/t/tools/hangfs', $self->{path});
    push @disks, $self;
    return (readline($self->{from}) // '') eq "ready\n" ? $self : undef;
}

sub path { return $_[0]{path} }

sub tell
{
    my ($self, $what) = @_;

    syswrite $self->{to}, "$what\n";
    is(scalar readline $self->{from}, "ok\n", "the file system: $what");
}

END {
    my $status = $?;

    for my $disk (@disks) {
        close $disk->{to};
        waitpid $disk->{pid}, 0;
    }
    $? = $status;
}

1;
