# Licensed under the Apache License, Version 2.0; see LICENSE.

# What a fleet shares: a real redis-server or memcached of the test's own, on a
# port from the kernel, that keeps nothing.
#
#   my $store = Staple::Store->new('redis');    # undef: not installed
#   conf => stapling('StapleShare ' . $store->spec)
#   $store->poison(sub { my ($value) = @_; ... });
#   $store->freeze; $store->thaw; $store->end;

package Staple::Store;

use strict;
use warnings;

use IO::Socket::INET;
use Staple::Work qw(work_dir tool spawn kill stop_process is_running wait_for
                    free_ports show_on_failure);

my $made = 0;
my %programs = (redis => ['redis-server', 'valkey-server'],
                memcache => ['memcached']);

# The program of a kind; undef where it is not installed.
sub program
{
    my ($class, $kind) = @_;

    return (grep { defined } map { tool($_) } @{ $programs{$kind} })[0];
}

sub new
{
    my ($class, $kind) = @_;
    my $program = $class->program($kind) or return;
    my $log = work_dir() . '/store' . ++$made . '.log';
    my $self = bless { kind => $kind, log => $log }, $class;

    show_on_failure("$kind $made", $log);
    for my $try (1 .. 5) {
        ($self->{port}) = free_ports(1);
        my @args = $kind eq 'redis'
            ? ('--port', $self->{port}, '--bind', '127.0.0.1', '--save', '',
               '--appendonly', 'no', '--dir', work_dir())
            : ('-l', '127.0.0.1', '-p', $self->{port}, '-U', 0,
               $> == 0 ? ('-u', 'nobody') : ());

        $self->{pid} = spawn(name => $kind, log => $log,
                             cmd => [$program, @args]);
        return $self if wait_for(sub { $self->_connect
                                       || !is_running($self->{pid}) })
            && is_running($self->{pid});
    }
    die "$program did not start\n";
}

sub spec { return "$_[0]{kind}:127.0.0.1:$_[0]{port}" }

sub freeze { kill 'STOP', $_[0]{pid} }

sub thaw { kill 'CONT', $_[0]{pid} }

sub end { return stop_process($_[0]{pid}, 'KILL', 10) }

sub _connect
{
    my ($self) = @_;

    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', Timeout => 5,
                                 PeerPort => $self->{port});
}

# One redis command; the reply, a list for a list.
sub _redis
{
    my ($self, @words) = @_;

    $self->{socket} //= $self->_connect // die "no redis: $!\n";
    $self->{socket}->print('*' . @words . "\r\n",
                           map { '$' . length . "\r\n$_\r\n" } @words);
    return $self->_redis_reply;
}

sub _redis_reply
{
    my ($self) = @_;
    my $line = $self->{socket}->getline // die "redis is gone\n";
    my ($kind, $rest) = $line =~ /^(.)(.*)\r\n$/s;

    return map { $self->_redis_reply } 1 .. $rest if $kind eq '*';
    return $rest if $kind ne '$' || $rest < 0;
    $self->{socket}->read(my $value, $rest + 2);
    return substr $value, 0, $rest;
}

# One memcached exchange, up to a line that ends it.
sub _memcache
{
    my ($self, $command) = @_;
    my $said = '';

    $self->{socket} //= $self->_connect // die "no memcached: $!\n";
    $self->{socket}->print($command);
    while (defined(my $line = $self->{socket}->getline)) {
        $said .= $line;
        return $said if $line =~ /^(?:END|STORED|OK|NOT_\w+|.*ERROR.*)\r\n$/;
    }
    die "memcached is gone\n";
}

# The keys it holds.
sub keys
{
    my ($self) = @_;

    return $self->_redis('KEYS', '*') if $self->{kind} eq 'redis';
    return map { s/%([0-9a-f]{2})/chr hex $1/gier }
        $self->_memcache("lru_crawler metadump all\r\n") =~ /^key=(\S+)/mg;
}

sub get
{
    my ($self, $key) = @_;

    return $self->_redis('GET', $key) if $self->{kind} eq 'redis';
    my ($len, $rest) = $self->_memcache("get $key\r\n")
        =~ /^VALUE \S+ \d+ (\d+)\r\n(.*)/s;
    return defined $len ? substr $rest, 0, $len : undef;
}

sub set
{
    my ($self, $key, $value) = @_;

    return $self->_redis('SET', $key, $value) if $self->{kind} eq 'redis';
    return $self->_memcache("set $key 0 0 " . length($value)
                            . "\r\n$value\r\n");
}

# Replace every value by what the function makes of it.
sub poison
{
    my ($self, $change) = @_;

    for my $key ($self->keys) {
        $self->set($key, $change->($self->get($key) // '', $key));
    }
}

sub flush
{
    my ($self) = @_;

    return $self->{kind} eq 'redis' ? $self->_redis('FLUSHALL')
                                    : $self->_memcache("flush_all\r\n");
}

1;
