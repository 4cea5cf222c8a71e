# Licensed under the Apache License, Version 2.0; see LICENSE.

# Load that looks: t/tools/visitors in the background, so many handshakes a
# second, each staple verified as a strict client would.
#
#   my $visitors = Staple::Visitors->new($ca, [$httpd], names => ['a.test']);
#   ... restart, kill, break ...
#   my %seen = $visitors->stop->tally;      # good => 812, none => 0 ...
#   my @odd = $visitors->odd;               # the lines that are not good
#
# Options: names (a list; www.test), rate (a second; 50), workers (at a time;
# 4), count (after how many they end; 0: when told to). A visit is a hash:
# time, port, name, serial, ms, verdict; the verdicts are those of
# t/tools/visitors.c.

package Staple::Visitors;

use strict;
use warnings;

use Staple::Work qw(work_dir build_dir read_file spawn stop_process
                    is_running wait_for);

my $made = 0;

sub new
{
    my ($class, $ca, $servers, %o) = @_;
    my $program = build_dir() . '/t/tools/visitors';
    my $self = bless { log => work_dir() . '/visitors' . ++$made }, $class;

    die "$program is not there: build it first\n" if !-x $program;
    # They end with our end of this pipe, however we end.
    pipe(my $theirs, my $ours) or die "pipe: $!\n";
    $self->{tie} = $ours;
    $self->{pid} = spawn(
        name => 'visitors', log => $self->{log}, stdin => $theirs,
        cmd => [$program, '--tied', '--ca', $ca->root,
                '--rate', $o{rate} // 50, '--workers', $o{workers} // 4,
                '--count', $o{count} // 0,
                (map { ('--port', $_) }
                 map { ref $_ ? @{ $_->{port} } : $_ } @$servers),
                @{ $o{names} // ['www.test'] }]);
    return $self;
}

# All visits so far, in the order of their ends.
sub visits
{
    my ($self) = @_;

    return map {
        my %v;
        @v{qw(time port name serial ms verdict)} = split /\t/;
        \%v;
    } grep { /\t.*\t/ } split /\n/, read_file($self->{log});
}

# How many came to which verdict; what follows a colon is left off.
sub tally
{
    my ($self) = @_;
    my %seen = map { $_ => 0 } qw(good none bad failed);

    $seen{ $_->{verdict} =~ s/:.*//r }++ for $self->visits;
    return %seen;
}

# What was not good, as text.
sub odd
{
    my ($self) = @_;

    return map { join ' ', @$_{qw(time port name serial ms verdict)} }
        grep { $_->{verdict} ne 'good' } $self->visits;
}

# Wait until there were so many more; returns whether there were.
sub wait_for_more
{
    my ($self, $more, $seconds) = @_;
    my $before = () = $self->visits;

    return wait_for(sub { (() = $self->visits) >= $before + $more },
                    $seconds // 30);
}

# Wait for the last of `count`.
sub finish
{
    my ($self, $seconds) = @_;

    wait_for(sub { !is_running($self->{pid}) }, $seconds // 60);
    return $self;
}

# Let those under way come to their end.
sub stop
{
    my ($self) = @_;

    stop_process($self->{pid}, 'TERM', 30);
    return $self;
}

1;
