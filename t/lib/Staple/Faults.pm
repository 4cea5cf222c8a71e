# Licensed under the Apache License, Version 2.0; see LICENSE.

# System calls and allocations of the server under test that fail when a test
# says so, by t/tools/faults.c:
#
#   my $faults = Staple::Faults->new;
#   my $httpd = Staple::Httpd->new(preload => [$faults->library],
#                                  env => { $faults->env }, ...);
#   $faults->arm(kind => 'open', who => 'refresher', nth => 3);
#   wait_for(sub { $faults->fired });
#   $faults->disarm;
#
# arm: kind (a name or a list; see kinds), who (parent, refresher, child, any),
# ours (1: only calls that mod_staple makes), nth, or rate (one in so many) and
# seed. count and fired say how many such calls there were since, and how many
# of them failed; what, which was the last of these.

package Staple::Faults;

use strict;
use warnings;

use Time::HiRes qw(time);

use Staple::Client ();
use Staple::Work qw(work_dir build_dir write_file read_file wait_for
                    kill);

# In the order of enum kind and of the control's fields there.
my @kinds = qw(malloc mmap open read write fsync socket connect poll thread
               fork getaddrinfo rename);
my @fields = qw(kinds who scope nth rate seed count fired);
my $what_len = 96;
my %who = (parent => 1, refresher => 2, child => 4, any => 7);

my $made = 0;

sub kinds { return @kinds }

sub library { return build_dir() . '/t/tools/.libs/faults.so' }

# Why faults cannot be injected here; undef: they can.
sub missing
{
    return 'another library is preloaded (the sanitizers\')'
        if $ENV{STAPLE_PRELOAD};
    return -e library() ? undef : 'no ' . library();
}

sub new
{
    my ($class) = @_;
    my $self = bless { file => work_dir() . '/faults' . ++$made }, $class;

    write_file($self->{file}, "\0" x (4 * @fields + $what_len));
    chmod 0666, $self->{file};
    open $self->{control}, '+<:raw', $self->{file}
        or die "$self->{file}: $!\n";
    return $self;
}

sub env { return (STAPLE_FAULTS => $_[0]{file}) }

sub _put
{
    my ($self, $field, @values) = @_;
    my ($at) = grep { $fields[$_] eq $field } 0 .. $#fields;

    sysseek $self->{control}, 4 * $at, 0;
    syswrite $self->{control}, pack('L*', @values);
}

sub _get
{
    my ($self, $field) = @_;
    my %now;

    @now{@fields, 'what'} = unpack 'L' . @fields . 'Z*',
        read_file($self->{file});
    return $now{$field};
}

sub arm
{
    my ($self, %o) = @_;
    my $bits = 0;

    for my $kind (ref $o{kind} ? @{ $o{kind} } : $o{kind}) {
        my ($at) = grep { $kinds[$_] eq $kind } 0 .. $#kinds;

        $bits |= 1 << ($at // die "no such kind: $kind\n");
    }
    $self->disarm;
    $self->_put('who', $who{ $o{who} // 'any' } // die("who?\n"),
                $o{ours} ? 1 : 0, $o{nth} // 0, $o{rate} // 0, $o{seed} // 1,
                0, 0);
    $self->_put('kinds', $bits);
    return $self;
}

sub disarm { $_[0]->_put('kinds', 0); return $_[0] }

sub count { return $_[0]->_get('count') }

sub fired { return $_[0]->_get('fired') }

sub what { return $_[0]->_get('what') }

# ----- a trial -----

# What makes a process of each kind do all that it does at its birth.
my %provoke = (
    parent    => sub { kill 'USR1', $_[0]->pid },
    refresher => sub { kill 'KILL', $_[0]->refresher // () },
    child     => sub { kill 'KILL', ($_[0]->children)[0] // () },
);

# Whether that is over: every certificate was asked about twice since.
sub _is_settled
{
    my ($before, %o) = @_;

    return !$o{httpd}->is_alive
        || $o{responder}->count > $before + 2 * @{ $o{names} };
}

# Let one call fail in a process that is just born, and see the server get over
# it. Options: httpd, responder (for certificates that are asked about every
# second), names (stapled before and, whatever happens, after), kind, who, nth,
# ours. Returns a hash: fired; what (failed); ended (the server did, and was
# started again, as it is where not everything went on);
# crashed (log lines); said (lines that alarm); back (whether everything went
# on), seconds (until it did).
sub trial
{
    my ($self, %o) = @_;
    my $httpd = $o{httpd};
    my $seen = length $httpd->error_log;
    my $began = time;

    $self->arm(map { $_ => $o{$_} } grep { exists $o{$_} }
               qw(kind who nth ours));
    my $before = $o{responder}->count;
    $provoke{ $o{who} }->($httpd);
    wait_for(sub { $self->fired || _is_settled($before, %o) }, 20);
    my $fired = $self->fired;
    wait_for(sub { !$httpd->is_alive }, 0.3) if $fired;
    my $ended = !$httpd->is_alive;
    $self->disarm;
    _start($httpd) if $ended;
    my $back = _goes_on(%o);

    if (!$back && $httpd->is_alive) { $httpd->stop }
    _start($httpd) if !$httpd->is_alive;
    my @lines = split /\n/, substr $httpd->error_log, $seen;

    return (fired => $fired, what => $self->what, ended => $ended,
            back => $back,
            seconds => time - $began,
            crashed => [grep { /exit signal (?!Killed)/ } @lines],
            oom => scalar(grep { /Memory allocation failed/i } @lines,
                          split /\n/, read_file($httpd->{output})),
            said => [_told(@lines)]);
}

# The children of a server that has ended may hold its ports for a moment.
sub _start
{
    my ($httpd) = @_;

    wait_for(sub { eval { $httpd->start } }, 30) || $httpd->start;
}

# What alarms, but for what is said of a process that was killed here, and what
# a start says in any case: of the OpenSSL that mod_ssl was compiled with, and
# of the file that a server which ended has left.
sub _told
{
    my @told = grep { /:(?:warn|error|crit|alert|emerg)\]/
                      && !/exit signal Killed|AH01882|AH00098/ } @_;
    my ($killed) = grep { $told[$_] =~ /STP0120/ } 0 .. $#told;

    splice @told, $killed, 1 if defined $killed;
    return @told;
}

# Whether the server answers, with staples, and asks for new ones.
sub _goes_on
{
    my (%o) = @_;
    my $before = $o{responder}->count;

    return 0 if !$o{httpd}->is_alive
        || !wait_for(sub { $o{responder}->count > $before }, 30);
    for my $name (@{ $o{names} }) {
        return 0 if Staple::Client::wait_for_staple(
            $o{httpd}, 'good', name => $name)->{staple} ne 'good';
    }
    return 1;
}

1;
