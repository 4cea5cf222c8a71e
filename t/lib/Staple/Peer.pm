# Licensed under the Apache License, Version 2.0; see LICENSE.

# A server that was not written here (nginx, squid, cfssl), in the foreground
# on a loopback port from the kernel.
#
#   my $nginx = Staple::Peer->start('nginx', sub {
#       my ($port, $dir) = @_;
#       return ('nginx', '-c', write_file("$dir/conf", "listen $port ..."));
#   });
#   $nginx->port, $nginx->dir
#
# A third argument says how many seconds it may take to listen: 20 without.
#
# The directory belongs to the account that httpd's children have, for servers
# that give up root by themselves.

package Staple::Peer;

use strict;
use warnings;

use File::Path qw(make_path);
use IO::Socket::INET;

use Staple::Httpd ();
use Staple::Work qw(work_dir read_file spawn stop_process is_running wait_for
                    free_ports tool show_on_failure);

my $started = 0;

sub start
{
    my ($class, $name, $command, $seconds) = @_;
    my $dir = work_dir() . "/$name" . ++$started;
    my $self = bless { dir => $dir, log => "$dir/output" }, $class;

    make_path($dir);
    chown +(getpwnam Staple::Httpd::account())[2, 3], $dir if $> == 0;
    show_on_failure("$name: output", $self->{log});
    for my $try (1 .. 5) {
        ($self->{port}) = free_ports(1);
        my ($program, @args) = $command->($self->{port}, $dir);

        $self->{pid} = spawn(name => $name, log => $self->{log},
                             cmd => [tool($program), @args]);
        wait_for(sub { !is_running($self->{pid}) || $self->_is_up },
                 $seconds // 20);
        last if is_running($self->{pid});
    }
    return $self if $self->_is_up;
    $self->stop;
    die "$name did not start:\n", read_file($self->{log});
}

sub _is_up
{
    my ($self) = @_;

    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                 PeerPort => $self->{port}, Timeout => 1);
}

sub port { return $_[0]{port} }

sub pid { return $_[0]{pid} }

sub dir { return $_[0]{dir} }

# Its URL, with a path if one is given.
sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

# End it for good; returns its $?.
sub stop { return stop_process($_[0]{pid}, 'TERM', 10) }

1;
