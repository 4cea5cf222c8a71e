# Licensed under the Apache License, Version 2.0; see LICENSE.

# The responders: t/tools/responder, that can be told to lie, and the real
# `openssl ocsp` beside it.
#
#   my $responder = Staple::Responder->new($ca);
#   $responder->tell('slow 500');              # one setting more
#   $responder->tell('revoked', $leaf);        # for one certificate
#   $responder->only('http 503 120');          # this fault and no other
#   $responder->count($leaf), $responder->log  # what it was asked
#
# With bind => ['127.0.0.2', '127.0.0.3'] it listens there, all on one port, and
# a fault can be that of one address:
#
#   $responder->only('deaf', '127.0.0.2');
#   $responder->count('127.0.0.3')
#   $responder->tell('refuse 127.0.0.2');
#
# `responder --help` lists the commands.

package Staple::Responder;

use strict;
use warnings;

use IO::Socket::INET;
use Staple::Work qw(work_dir build_dir read_file run spawn stop_process
                    is_running wait_for free_ports show_on_failure tool);

my $started = 0;

# Start one for the given CAs; options after them, in a hash: bind (a list of
# addresses), args (a list).
sub new
{
    my ($class, @cas) = @_;
    my %o = @cas && ref $cas[-1] eq 'HASH' ? %{ pop @cas } : ();
    my $number = ++$started;
    my $program = build_dir() . '/t/tools/responder/responder';
    my $log = work_dir() . "/responder$number.log";

    die "$program is not there: build it first\n" if !-x $program;
    # It ends with our end of this pipe, however we end.
    pipe(my $theirs, my $ours) or die "pipe: $!\n";
    my $self = bless { log => $log, tie => $ours,
                       bind => $o{bind} // ['127.0.0.1'] }, $class;
    $self->{pid} = spawn(
        name => 'responder', log => $log, stdin => $theirs,
        cmd => [$program, '--tied', @{ $o{args} // [] },
                (map { ('--bind', $_) } @{ $self->{bind} }),
                map { ('--issuer', $_->issuer) } @cas]);
    wait_for(sub { read_file($log) =~ /^ready/m
                   || !is_running($self->{pid}) });
    @$self{qw(port control_port)} =
        read_file($log) =~ /^port (\d+)\ncontrol (\d+)\nready/
        or die "the responder did not start:\n", read_file($log);
    show_on_failure("responder $number", $log);
    return $self;
}

# A real `openssl ocsp` for one CA, with good for every leaf that was there
# when it was started, or when it was told to `learn`.
sub new_openssl
{
    my ($class, $ca) = @_;
    my $number = ++$started;
    my $log = work_dir() . "/openssl-ocsp$number.log";
    my ($cert, $key) = $ca->issuer;
    my $self = bless { log => $log, bind => ['127.0.0.1'] }, $class;

    for my $try (1 .. 5) {
        ($self->{port}) = free_ports(1);
        $self->{pid} = spawn(
            name => 'openssl ocsp', log => $log,
            cmd => [tool('openssl'), 'ocsp', '-index', "$ca->{dir}/index.txt",
                    '-port', $self->{port}, '-CA', $cert, '-rsigner', $cert,
                    '-rkey', $key, '-ndays', 4, '-text']);
        # Not by connecting: it does not get over a client that says nothing.
        last if wait_for(sub { read_file($log) =~ /ACCEPT|waiting for/i
                               || !is_running($self->{pid}) })
            && is_running($self->{pid});
    }
    die "openssl ocsp did not start:\n", read_file($log)
        if !is_running($self->{pid});
    show_on_failure("openssl ocsp $number", $log);
    return $self;
}

# Make `openssl ocsp` know a leaf that came later: it reads its index again
# after an answer, not before.
sub learn
{
    my ($self, @leaves) = @_;

    for my $leaf (@leaves) {
        wait_for(sub {
            my (undef, $out) = run('openssl', 'ocsp', '-issuer',
                                   $leaf->{issuer}, '-cert', $leaf->{cert},
                                   '-noverify', '-url', $self->url);
            $out =~ /: good/;
        }) or die "openssl ocsp does not know $leaf->{serial}\n";
    }
    return $self;
}

# Its URL, with a path and a host's name if they are given.
sub url
{
    my ($self, $path, $host) = @_;

    return 'http://' . ($host // $self->{bind}[0]) . ":$self->{port}"
        . ($path // '/');
}

sub port { return $_[0]{port} }

sub _target { return ref $_[0] ? $_[0]{serial} : $_[0] }

# Give it a command, for everybody, or for one certificate or address; returns
# the data lines.
sub tell
{
    my ($self, $command, $for) = @_;
    my @lines;

    $self->{control} //= IO::Socket::INET->new(
        PeerAddr => $self->{bind}[0], PeerPort => $self->{control_port},
        Timeout => 10) // die "no control port: $!\n";
    $self->{control}->print(($for ? '@' . _target($for) . ' ' : ''),
                            "$command\n");
    while (defined(my $line = $self->{control}->getline)) {
        chomp $line;
        return @lines if $line eq 'ok';
        die "responder: $command: $line\n" if $line =~ /^error/;
        push @lines, $line =~ s/^- //r;
    }
    die "the responder is gone\n";
}

# Heal everything, then this.
sub only
{
    my ($self, $command, $for) = @_;

    return $self->tell("good | $command", $for);
}

sub good { return $_[0]->tell('good', $_[1]) }

# How many requests there were: in all, for one certificate, or at one address.
sub count
{
    my ($self, $for) = @_;
    my ($n) = $self->tell('count' . ($for ? ' ' . _target($for) : ''));

    return $n;
}

# What it was asked: a list of hashes.
sub log
{
    my ($self) = @_;

    return map {
        my %r;
        @r{qw(time method serial hash connection target host agent singles
              extensions address)} = split /\t/;
        \%r;
    } $self->tell('log');
}

# requests, connections, open, max-open, busy, max-busy.
sub stats { return map { split / / } $_[0]->tell('stats') }

# Wait until it was asked more often than `before` (default: what it was when
# this is called); returns whether it was.
sub wait_for_request
{
    my ($self, $leaf, $before, $seconds) = @_;

    $before //= $self->count($leaf);
    return wait_for(sub { $self->count($leaf) > $before }, $seconds);
}

# Every lie that must neither be stapled nor cost a good response; each can be
# told about one certificate. Those that hold a connection back need a short
# SSLStaplingResponderTimeout.
sub faults
{
    return (
        'slow 60000', 'hang-before', 'hang-middle', 'drip 500',
        'cut', 'drop', 'reset',
        'http 204', 'http 404', 'http 405', 'http 500', 'http 503 1',
        'redirect http://127.0.0.1:1/', 'redirect https://127.0.0.1/',
        'redirect ldap://127.0.0.1/',
        'trylater', 'malformed', 'internal', 'sigrequired', 'unauthorized',
        'garbage', 'garbage 0', 'truncated', 'long 4000', 'long 200000',
        'expired', 'notyet', 'othercert', 'otherissuer', 'othersigner',
        'badsig', 'critical', 'delegated no-eku', 'delegated expired',
        'delegated stranger', 'unknown',
    );
}

# End it for good; returns its $?.
sub stop
{
    my ($self) = @_;

    return stop_process($self->{pid}, 'TERM', 10);
}

1;
