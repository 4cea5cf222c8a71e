# Licensed under the Apache License, Version 2.0; see LICENSE.

# staplectl asks the refresher of a server at work, through the ring's file: one
# certificate or all of them, and says what came of it. The last response of a
# must-staple certificate is kept, and where no server is at work, that is said.

use FindBin;
use lib "$FindBin::Bin/lib";
use Fcntl qw(SEEK_SET);
use JSON::PP;
use Staple;
use Staple::Work qw(build_dir work_dir spawn stop_process);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $one = $ca->leaf(name => 'one.test', ocsp => $responder->url);
my $two = $ca->leaf(name => 'two.test', ocsp => $responder->url);
my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                     must_staple => 1);
my $httpd = Staple::Httpd->new(
    conf => stapling(), vhosts => [map { { cert => $_ } } $one, $two, $must]);
my $ring = $httpd->dir . '/logs/stapling_cache';

sub ctl
{
    my ($command, @args) = @_;

    return run(build_dir() . '/staplectl/staplectl', $command, '--ring', $ring,
               @args);
}

# The words in the header that belong to the file's owner.
sub words
{
    open my $file, '<:raw', $ring or die "$ring: $!\n";
    seek $file, 208, SEEK_SET;
    read $file, my $bytes, 48;
    return [unpack 'Q6', $bytes];
}

$httpd->start;
wait_for_staple($httpd, 'good', name => "$_.test") for qw(one two must);
ok(wait_for(sub { (() = (ctl('list'))[1] =~ /^stapled/mg) == 3 }, 30),
   'three certificates are stapled');

# One of them.
my %asked = map { ($_->{name} => $responder->count($_)) } $one, $two, $must;
my ($exit, $out) = ctl('refresh', 'one.test', '--wait', '60s');
is($exit, 0, 'refresh: a new response came');
like($out, qr/^one\.test:\d+: stapled; the last exchange: answered$/m,
     '... in words');
is($responder->count($one), $asked{'one.test'} + 1, '... by one question');
is($responder->count($two), $asked{'two.test'}, '... about no other one');
is_deeply(words(), [(0) x 6], '... and the word in the file is free again');

# All of them.
%asked = map { ($_->{name} => $responder->count($_)) } $one, $two, $must;
($exit, $out) = ctl('refresh', '--all', '--wait', '60s');
is($exit, 0, 'refresh --all');
is(scalar(() = $out =~ /: stapled; the last exchange: answered$/mg), 3,
   '... a line for each');
for my $leaf ($one, $two, $must) {
    is($responder->count($leaf), $asked{ $leaf->{name} } + 1,
       "... $leaf->{name} was asked about");
}

# Two programs at a time leave two requests.
%asked = map { ($_->{name} => $responder->count($_)) } $one, $two;
my @pids = map {
    my $name = $_;
    my $pid = fork // die "fork: $!\n";
    POSIX::_exit((ctl('refresh', $name))[0]) if !$pid;
    $pid;
} qw(one.test two.test);
is(join(' ', map { waitpid $_, 0; $? } @pids), '0 0', 'two at the same time');
for my $leaf ($one, $two) {
    ok($responder->wait_for_request($leaf, $asked{ $leaf->{name} }),
       "... $leaf->{name} was asked about");
}

# What fails, and what does not end. On a busy machine the first answer may be
# that to a request of before.
$responder->tell('http 500', $one);
for (1 .. 5) {
    ($exit, $out) = ctl('refresh', 'one.test', '--wait', '60s');
    last if $exit;
}
is($exit, 2, 'an exchange that fails');
like($out, qr/^one\.test:\d+: failing; .*HTTP status 500/m, '... in words');
$responder->good($one);

# forget drops the response; that of a must-staple certificate it leaves.
$responder->tell('http 500', $two);
($exit) = ctl('forget', 'two.test', '--wait', '60s');
is($exit, 2, 'forget, while the responder fails');
is(handshake($httpd, name => 'two.test')->{staple}, 'none',
   '... leaves nothing to staple');
$responder->good($two);
$responder->tell('http 500', $must);
($exit, $out) = ctl('forget', 'must.test');
is($exit, 3, 'forget: not the last response of a must-staple certificate');
like($out, qr/must-staple.*--force/s, '... and says how all the same');
# The refresher itself is asked: the third slot, and FORGET.
open my $words, '+<:raw', $ring or die "$ring: $!\n";
seek $words, 208, SEEK_SET;
print {$words} pack 'Q', 2 << 32 | 2;
close $words or die "$ring: $!\n";
$asked{'must.test'} = $responder->count($must);
ok($responder->wait_for_request($must, $asked{'must.test'}),
   '... it asks for a new one');
is(handshake($httpd, name => 'must.test')->{staple}, 'good',
   '... and keeps the one that there is');
ctl('forget', 'must.test', '--wait', '60s', '--force');
is(handshake($httpd, name => 'must.test')->{staple}, 'none', '... but by force');
$responder->good($must);
# A responder that has just failed is left in peace for some seconds.
ok(wait_for(sub { (ctl('refresh', '--all', '--wait', '60s'))[0] == 0 }, 60),
   'all is well again');

# Whatever else stands there is thrown away.
open my $file, '+<:raw', $ring or die "$ring: $!\n";
seek $file, 208, SEEK_SET;
print {$file} pack 'Q6', 1, 0xffffffff_00000001, 0x1234_00000001,
    0x7fffffff_0000000f, 0xf0, 0xffffffff_ffffffff;
close $file or die "$ring: $!\n";
ok(wait_for(sub { !grep { $_ } @{ words() } }, 30),
   'words that are no requests are thrown away');
is((ctl('refresh', 'one.test', '--wait', '60s'))[0], 0, '... and all goes on');

is((ctl('refresh'))[0], 3, 'refresh wants to know which');

# watch draws until it is ended, and says what is being asked.
my $watched = work_dir() . '/watched';
my $watch = spawn(name => 'watch', log => $watched, cmd => [
    build_dir() . '/staplectl/staplectl', 'watch', '--ring', $ring]);
ok(wait_for(sub { (() = read_file($watched) =~ /^STATE /mg) > 1 }, 60),
   'watch draws the list anew');
$responder->tell('hang-before', $two);
is((ctl('refresh', 'two.test'))[0], 0, 'a responder that hangs is asked');
ok(wait_for(sub { read_file($watched)
                  =~ /^stapled .* two\.test:\d+ +being asked, for /m }, 60),
   '... and watch says that it is being asked');
stop_process($watch, 'TERM', 10);
$responder->good($two);
is((ctl('refresh', 'one.test', '--wait', 'soon'))[0], 3, '--wait wants a span');
is((ctl('refresh', 'other.test'))[0], 3, 'no such certificate');

# A certificate that is given and that the server does not have, as one that a
# deploy hook has just installed, before the restart.
my $new = $ca->leaf(name => 'new.test', ocsp => $responder->url);
for my $command ('refresh', 'forget') {
    ($exit, $out) = ctl($command, '--cert', $new->{chain}, 'new.test');
    is($exit, 3, "$command: a certificate that the server does not know");
    like($out, qr/no responder is asked about .*: new\.test \(the server does not know the certificate\)$/m,
         '... in words');
}
($exit, $out) = ctl('refresh', '--all', '--cert', $new->{chain}, '--wait', '60s');
is($exit, 0, '... all that it knows are asked about') or diag $out;
is((ctl('refresh', '--connect', 'localhost:' . $httpd->port, 'one.test'))[0], 3,
   'nobody is asked by a handshake');

ok($httpd->stop, 'httpd stops in good order');
($exit, $out) = ctl('refresh', 'one.test');
is($exit, 3, 'no server is at work');
like($out, qr/no refresher takes requests from/, '... in words');
is_deeply(words(), [(0) x 6], '... and the request was taken back');
$httpd->log_ok(qr/STP0302|STP0203/);

done_testing();
