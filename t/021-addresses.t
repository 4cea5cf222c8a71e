# Licensed under the Apache License, Version 2.0; see LICENSE.

# The tools for responders with several addresses do as they are told: the
# preloaded resolver answers out of its file, also while it changes, and each
# address of the responder has faults of its own.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $missing = Staple::Names::missing();

plan skip_all => $missing if $missing;

my $names = Staple::Names->new(
    'two.test' => '127.0.0.3 127.0.0.2', 'six.test' => '::1 127.0.0.2',
    'turn.test' => 'turn 127.0.0.1 127.0.0.2 127.0.0.3',
    'gone.test' => 'fail noname', 'again.test' => 'fail again',
    'late.test' => 'after 20 127.0.0.4', 'stuck.test' => 'hang');

# In a program of its own, as libraries are preloaded: what look-ups of each
# name in turn find, a line for each.
my $look_up = <<'END';
use Socket qw(:addrinfo AF_INET6 inet_ntop SOCK_STREAM);
$| = 1;
for my $name (@ARGV) {
    my ($error, @found) = getaddrinfo($name, '80',
                                      { socktype => SOCK_STREAM });
    print $error ? 'error ' . ($error + 0)
                 : join(' ', map { (getnameinfo($_->{addr},
                       NI_NUMERICHOST | NI_NUMERICSERV))[1] } @found), "\n";
}
END

# What perl does not give back at its end is not looked for (LeakSanitizer).
my %preload = ($names->env, LD_PRELOAD => join(':',
                   grep { defined } $ENV{STAPLE_PRELOAD}, $names->library),
               ASAN_OPTIONS => join ':',
                   grep { defined } $ENV{ASAN_OPTIONS}, 'detect_leaks=0');

sub look_up
{
    local %ENV = (%ENV, %preload);

    return (run($^X, '-e', $look_up, @_))[1];
}

is(look_up('two.test'), "127.0.0.3 127.0.0.2\n", 'addresses in their order');
is(look_up('six.test'), "::1 127.0.0.2\n", 'of both families');
is(look_up('TWO.test', '127.0.0.9'), "127.0.0.3 127.0.0.2\n127.0.0.9\n",
   'in any case of letters; a literal is itself');
is(look_up(('turn.test') x 4),
   "127.0.0.1 127.0.0.2 127.0.0.3\n127.0.0.2 127.0.0.3 127.0.0.1\n"
   . "127.0.0.3 127.0.0.1 127.0.0.2\n127.0.0.1 127.0.0.2 127.0.0.3\n",
   'round robin');
is(look_up('late.test'), "127.0.0.4\n", 'a name that takes its time');
like(look_up('gone.test', 'again.test'), qr/^error (-?\d+)\nerror (?!\1)/,
     'two ways to fail');
is($names->count('turn.test'), 4, 'look-ups are counted');

my $log = work_dir() . '/stuck.log';
Staple::Work::spawn(
    name => 'look-up', log => $log, env => \%preload,
    cmd => [$^X, '-e', $look_up, 'stuck.test']);
ok(wait_for(sub { $names->count('stuck.test') }), 'a look-up has begun');
is(read_file($log), '', '... and hangs');
$names->set('stuck.test' => '127.0.0.7');
ok(wait_for(sub { read_file($log) eq "127.0.0.7\n" }),
   '... until the name has an address');

# ----- a responder with two addresses -----

my ($one, $two) = ('127.0.0.2', '127.0.0.3');
my $ca = Staple::CA->new;
my $leaf = $ca->leaf(name => 'a.test');
my $responder = Staple::Responder->new($ca, { bind => [$one, $two] });
my $request = work_dir() . '/request.der';

run('openssl', 'ocsp', '-issuer', $leaf->{issuer}, '-cert', $leaf->{cert},
    '-no_nonce', '-reqout', $request);

# curl's exit status and what came, from one of its addresses.
# The answer of an address; @silent, where none is expected.
my @silent = ('-m', 0.5);

sub post
{
    my ($address, @args) = @_;

    return run('curl', '-s', '-m', 30, '-i', '--data-binary', "\@$request",
               @args, $responder->url('/', $address));
}

is((post($_))[0], 0, "$_: answers") for $one, $two;
is($responder->count($one), 1, 'questions are counted by address');
is(join(' ', map { $_->{address} } $responder->log), "$one $two",
   '... and logged with it');

# Command, curl's exit status, and what curl got.
my @faults = (
    ['deaf',                    28, qr/^$/],
    ['hang-before',             28, qr/^$/],
    ['hangup',                  qr/^5[26]$/, qr/^$/],
    ['drop',                    52, qr/^$/],
    ['not-http',                qr/^[18]$/, qr/SSH|^$/],
    ['cut',                     18, qr/^HTTP/],
    ['garbage | type text/html', 0, qr{200 OK.*text/html.*<html>}s],
    ['http 500',                0, qr/ 500 /],
    ['http 503',                0, qr/ 503 /],
    ['open',                    28, qr/ 200 OK(?!.*Content-Length)/s],
);

for (@faults) {
    my ($command, $status, $expected) = @$_;

    $responder->only($command, $one);
    my ($exit, $out) = post($one, $status eq '28' ? @silent : ());
    like($exit, ref $status ? $status : qr/^$status$/,
         "$command: curl's exit status");
    like($out, $expected, "$command: the answer");
    like((post($two))[1], qr/ 200 OK/, '... and the other address is well');
    $responder->tell('clear', $one);
}
$responder->only('once', $one);
my ($exit, $out) = post($one, '-m', 5, $responder->url('/', $one));
is($exit, 28, 'once: the second request of a connection');
is(scalar(() = $out =~ / 200 OK/g), 1, '... is not answered, the first was');
$responder->tell('clear', $one);

$responder->tell("refuse $one");
is((post($one))[0], 7, 'refuse: one address');
is((post($two))[0], 0, '... and not the other');
$responder->tell("block $one");
is((post($one, @silent))[0], 28, 'block: nobody gets through');
$responder->tell("listen $one");
is((post($one))[0], 0, 'listen: it is well again');

# ----- both, in a server -----

my $named = $ca->leaf(name => 'b.test', ocsp => $responder->url('/', 'www.two'));
$names->set('www.two' => "$two $one");
my $httpd = Staple::Httpd->new(conf => stapling(), names => $names,
                               vhosts => [{ cert => $named }]);
my $before = $responder->count($two);

$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good',
   'httpd resolves by it, and has asked there');
cmp_ok($names->count('www.two'), '>', 0, '... which is told');
cmp_ok($responder->count($two), '>', $before, '... the first address');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

is($responder->stop, 0, 'it ends in good order');

done_testing;
