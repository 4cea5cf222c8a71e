# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleMessageCmd is refused at start where it could never work, and the
# example program does what it says with the most hostile of names.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(source_dir);

my $ca = Staple::CA->new;
my $leaf = $ca->leaf(name => 'www.test');
my $dir = work_dir();
my $program = write_file('program', "#!/bin/sh\n");
my $plain = write_file('plain', "no program\n");

chmod 0755, $program;
for (["'$program'" => 0, qr/Syntax OK/],
     ["'$program' with some arguments" => 0, qr/Syntax OK/],
     ["'$plain'" => 1, qr/StapleMessageCmd: '\S+plain' is no program that can/],
     ["'$dir'" => 1, qr/is no program that can be run/],
     ['no/such/program' => 1, qr/'no\/such\/program' is no program/],
     ["''" => 1, qr/write a program's path/],
     ['' => 1, qr/write a program's path/]) {
    my ($value, $status, $words) = @$_;
    my $httpd = Staple::Httpd->new(
        conf => stapling("StapleMessageCmd $value"),
        vhosts => [{ cert => $leaf }]);
    my ($exit, $out) = $httpd->configtest;

    is($exit, $status, "StapleMessageCmd $value");
    like($out, $words, '... in words');
}
my $inside = Staple::Httpd->new(
    conf => stapling(),
    vhosts => [{ cert => $leaf, conf => "StapleMessageCmd '$program'" }]);
is(($inside->configtest)[0], 1, 'not inside a virtual host');

# The example, with stand-ins for what it calls.
for my $tool (qw(mail logger)) {
    my $path = write_file("bin/$tool", <<"SCRIPT");
#!/bin/sh
{ echo $tool; for a; do echo "<\$a>"; done; } >>'$dir/calls'
test $tool = logger || cat >>'$dir/calls'
SCRIPT
    chmod 0755, $path;
}
my $name = "-s \$(touch $dir/owned) `touch $dir/owned` '\"; touch $dir/owned";
sub example
{
    local $ENV{PATH} = "$dir/bin:$ENV{PATH}";

    unlink "$dir/calls";
    my ($exit) = run(source_dir() . '/docs/examples/message-cmd',
                     'ops@example.com', @_, $name, '0A1B', 'a.test:443',
                     'because');
    is($exit, 0, "the example: @_");
    return read_file("$dir/calls");
}
my $calls = example('revoked');
like($calls, qr/^mail\n<-s>\n<OCSP stapling: revoked>\n<-->\n<ops\@example\.com>$/m,
     '... mail');
like($calls, qr/^certificate: \Q$name\E$/m, '... with the name');
like($calls, qr/^<-p>\n<daemon\.err>$/m, '... and syslog');
unlike(example('renewed'), qr/^mail$/m, '... which needs nobody');
ok(!-e "$dir/owned", 'a name is never run');

done_testing;
