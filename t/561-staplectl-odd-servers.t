# Licensed under the Apache License, Version 2.0; see LICENSE.

# The handshake of staplectl --connect follows the rules where servers are
# strict, and outlives those that break off: an address is not sent as a name,
# and a connection that is reset at its end costs no answer.

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $leaf = $ca->leaf(name => 'www.test', ocsp => 'http://127.0.0.1:9/');
my $log = work_dir() . '/server.log';
my $server = Staple::Work::spawn(
    name => 's_server', log => $log,
    cmd => [tool('openssl'), 's_server', '-accept', '127.0.0.1:0', '-cert',
            $leaf->{cert}, '-key', $leaf->{key}, '-tls1_2', '-tlsextdebug',
            '-www']);
my $port = wait_for(sub { read_file($log) =~ /ACCEPT .*:(\d+)/ ? $1 : 0 })
    or die "s_server did not start: ", read_file($log);

sub check
{
    my ($where) = @_;

    return (build_dir() . '/staplectl/staplectl', 'check', '--timeout', 600,
            '--connect', $where);
}

# How often the server has seen an extension.
sub seen
{
    my ($extension) = @_;

    return scalar(() = read_file($log) =~ /extension "$extension"/g);
}

my $asked = 0;
for my $case (["localhost:$port", 1, 'a name'],
              ["127.0.0.1:$port", 0, 'an IPv4 address'],
              ["[::ffff:127.0.0.1]:$port", 0, 'an IPv6 address']) {
    my ($where, $is_sent, $what) = @$case;
    my $before = seen('server name');
    my ($exit, $out) = run(check($where));

    SKIP: {
        skip "no IPv6: $out", 3 if $exit == 3 && $what =~ /IPv6/;
        is($exit, 2, "$what: the server staples nothing");
        $asked++;
        ok(wait_for(sub { seen('status request') >= $asked }),
           '... and was asked to');
        is(seen('server name') - $before, $is_sent,
           $is_sent ? '... by its name' : '... without a name');
    }
}

# Records of TLS that are whole at the front of some bytes.
sub take_record
{
    my ($bytes) = @_;

    return '' if length($$bytes) < 5;
    my $size = 5 + unpack 'x3n', $$bytes;
    return length($$bytes) < $size ? '' : substr $$bytes, 0, $size, '';
}

# Hand on what both say until the server's last words, which are held back.
sub relay
{
    my ($client, $upstream) = @_;
    my $select = IO::Select->new($client, $upstream);
    my ($bytes, $last, $is_ending) = ('', '', 0);

    while (my @ready = $select->can_read(60)) {
        for my $from (@ready) {
            sysread($from, my $more, 65536) or return '';
            if ($from == $client) {
                syswrite $upstream, $more;
                next;
            }
            $bytes .= $more;
            while (length(my $record = take_record(\$bytes))) {
                $is_ending ||= ord($record) == 20;    # ChangeCipherSpec
                if ($is_ending) { $last .= $record }
                else            { syswrite $client, $record }
                return $last if $is_ending && ord($record) == 22; # Finished
            }
        }
    }
    return '';
}

# The client sleeps while the last words come, and the end, and a reset.
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                     Timeout => 60);
my $said = work_dir() . '/said';
my $pid = Staple::Work::spawn(
    name => 'staplectl', log => $said,
    cmd => [check('127.0.0.1:' . $listener->sockport)]);
my $client = $listener->accept or die "nobody has come: $!\n";
my $last = relay($client, IO::Socket::INET->new("127.0.0.1:$port"));
ok(length $last, 'a handshake goes as far as its last message');
Staple::Work::kill('STOP', $pid);
ok(wait_for(sub { read_file("/proc/$pid/stat") =~ /\) T / }), '... the client sleeps');
syswrite $client, $last;
shutdown $client, 1;
setsockopt $client, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
close $client;
Staple::Work::kill('CONT', $pid);
ok(wait_for(sub { !Staple::Work::is_running($pid) }), '... and ends');
is(Staple::Work::stop_process($pid), 2 << 8, '... with an answer');
like(read_file($said), qr/CRITICAL - www\.test: missing: the server sent no/,
     '... in words');
Staple::Work::stop_process($server);

done_testing;
